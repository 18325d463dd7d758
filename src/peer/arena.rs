//! Where peers live: a table with small keys, so that indexes are small as well.

/// Names an entry of an [`Arena`] as long as the entry is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u32);

impl Key {
    pub(super) const FIRST: Self = Self(0);
    pub(super) const LAST: Self = Self(u32::MAX);
}

/// Entries for each allocation. A table that grew by doubling would copy a million peers in one input.
const CHUNK: usize = 1 << 10;

/// A table of entries with keys that are used again.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Arena<T> {
    chunks: Vec<Vec<Option<T>>>,
    /// Keys of entries that were removed, the latest last.
    free: Vec<Key>,
    len: usize,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Arena<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let (chunk, place) = split(key);
        self.chunks.get(chunk)?.get(place)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (chunk, place) = split(key);
        self.chunks.get_mut(chunk)?.get_mut(place)?.as_mut()
    }

    /// Stores an entry. Tables here are bounded far below 2^32 by their users.
    pub(super) fn insert(&mut self, entry: T) -> Key {
        self.len += 1;
        if let Some(key) = self.free.pop() {
            let (chunk, place) = split(key);
            self.chunks[chunk][place] = Some(entry);
            return key;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            // The first one grows, since many a node knows few peers.
            let at_once = if self.chunks.is_empty() { 0 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(at_once));
        }
        let chunk = self.chunks.len() - 1;
        let place = self.chunks[chunk].len();
        self.chunks[chunk].push(Some(entry));
        Key(u32::try_from(chunk * CHUNK + place).unwrap_or(u32::MAX))
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let (chunk, place) = split(key);
        let entry = self.chunks.get_mut(chunk)?.get_mut(place)?.take()?;
        self.free.push(key);
        self.len -= 1;
        Some(entry)
    }

    /// All entries by key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        let all = self.chunks.iter().flatten().enumerate();
        all.filter_map(|(at, entry)| Some((Key(u32::try_from(at).ok()?), entry.as_ref()?)))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, entry)| entry)
    }
}

fn split(key: Key) -> (usize, usize) {
    let at = key.0 as usize;
    (at / CHUNK, at % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_their_entries_until_these_are_removed_and_are_then_used_again() {
        let mut arena = Arena::default();
        let keys: Vec<Key> = (0..3_000).map(|number| arena.insert(number)).collect();
        assert!(keys.iter().zip(0..).all(|(key, number)| arena.get(*key) == Some(&number)));
        assert_eq!(arena.remove(keys[1_500]), Some(1_500));
        assert_eq!((arena.remove(keys[1_500]), arena.get(keys[1_500])), (None, None));
        assert_eq!(arena.len(), 2_999);
        assert_eq!(arena.insert(7), keys[1_500]);
        assert_eq!(arena.iter().map(|(_, number)| *number).filter(|number| *number == 7).count(), 2);
        *arena.get_mut(keys[0]).unwrap() = 9;
        assert_eq!(arena.values().next(), Some(&9));
        assert_eq!(arena.get(Key::LAST), None);
    }
}
