//! Doubly linked lists that share one slab, so that steady traffic allocates nothing.
//!
//! An [`Arena`] owns the values; a [`List`] owns only their order. A value is in exactly one list from
//! [`Arena::push_back`] to [`Arena::remove`]. The slab grows to the most values ever held at once and
//! keeps that memory; vacant places are reused last in, first out, while they are still in the cache.
//!
//! The caller names the right list for each place; that is not checked.

use std::ops::{Index, IndexMut};

const NONE: u32 = u32::MAX;

/// Values linked into lists; each is named by its place.
#[derive(Debug)]
pub(super) struct Arena<V> {
    slots: Vec<Slot<V>>,
    /// First of the vacant places, chained by `next`.
    vacant: u32,
}

#[derive(Debug)]
struct Slot<V> {
    prev: u32,
    next: u32,
    value: Option<V>,
}

/// The order of some of an arena's values.
#[derive(Debug)]
pub(super) struct List {
    head: u32,
    tail: u32,
    len: usize,
}

impl List {
    pub(super) const fn new() -> Self {
        Self { head: NONE, tail: NONE, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn front(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }
}

impl<V> Arena<V> {
    /// The most values that places can name.
    pub(super) const MAX: usize = NONE as usize;

    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), vacant: NONE }
    }

    /// Appends a value and returns its place.
    pub(super) fn push_back(&mut self, list: &mut List, value: V) -> u32 {
        let at = self.place(value);
        self.link_back(list, at);
        at
    }

    /// Takes a value out of its list and vacates its place.
    pub(super) fn remove(&mut self, list: &mut List, at: u32) -> V {
        self.unlink(list, at);
        let slot = &mut self.slots[at as usize];
        slot.next = self.vacant;
        self.vacant = at;
        match slot.value.take() {
            Some(value) => value,
            None => unreachable!("place {at} was vacated twice"),
        }
    }

    /// Moves a value from one list to the end of another.
    pub(super) fn transfer(&mut self, from: &mut List, to: &mut List, at: u32) {
        self.unlink(from, at);
        self.link_back(to, at);
    }

    /// Moves the first value of a list to its end.
    pub(super) fn rotate(&mut self, list: &mut List) {
        if list.head != list.tail {
            let at = list.head;
            self.unlink(list, at);
            self.link_back(list, at);
        }
    }

    /// The place after `at` in its list.
    pub(super) fn next(&self, at: u32) -> Option<u32> {
        let next = self.slots[at as usize].next;
        (next != NONE).then_some(next)
    }

    /// The places of a list, in order.
    pub(super) fn places(&self, list: &List) -> impl Iterator<Item = u32> {
        std::iter::successors(list.front(), |&at| self.next(at))
    }

    fn place(&mut self, value: V) -> u32 {
        let at = self.vacant;
        if at == NONE {
            // Bounded by the queue's limits, which are checked against `MAX`.
            let at = u32::try_from(self.slots.len()).unwrap_or(NONE);
            assert!(at != NONE, "an arena holds at most {} values", Self::MAX);
            if self.slots.len() == self.slots.capacity() {
                // Doubles, from one on: most queues are short and many, and a vector begins with four.
                self.slots.reserve_exact(self.slots.len().max(1));
            }
            self.slots.push(Slot { prev: NONE, next: NONE, value: Some(value) });
            return at;
        }
        let slot = &mut self.slots[at as usize];
        self.vacant = slot.next;
        slot.value = Some(value);
        at
    }

    fn link_back(&mut self, list: &mut List, at: u32) {
        let slot = &mut self.slots[at as usize];
        slot.prev = list.tail;
        slot.next = NONE;
        match list.tail {
            NONE => list.head = at,
            tail => self.slots[tail as usize].next = at,
        }
        list.tail = at;
        list.len += 1;
    }

    fn unlink(&mut self, list: &mut List, at: u32) {
        let Slot { prev, next, .. } = self.slots[at as usize];
        match prev {
            NONE => list.head = next,
            prev => self.slots[prev as usize].next = next,
        }
        match next {
            NONE => list.tail = prev,
            next => self.slots[next as usize].prev = prev,
        }
        list.len -= 1;
    }
}

impl<V> Index<u32> for Arena<V> {
    type Output = V;

    fn index(&self, at: u32) -> &V {
        match &self.slots[at as usize].value {
            Some(value) => value,
            None => unreachable!("place {at} is vacant"),
        }
    }
}

impl<V> IndexMut<u32> for Arena<V> {
    fn index_mut(&mut self, at: u32) -> &mut V {
        match &mut self.slots[at as usize].value {
            Some(value) => value,
            None => unreachable!("place {at} is vacant"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(arena: &Arena<char>, list: &List) -> String {
        arena.places(list).map(|at| arena[at]).collect()
    }

    #[test]
    fn lists_share_places_and_keep_their_order() {
        let (mut arena, mut left, mut right) = (Arena::new(), List::new(), List::new());
        let places: Vec<u32> = "abcd".chars().map(|c| arena.push_back(&mut left, c)).collect();
        arena.rotate(&mut left);
        assert_eq!(values(&arena, &left), "bcda");
        arena.transfer(&mut left, &mut right, places[2]);
        arena.rotate(&mut right);
        assert_eq!((values(&arena, &left), values(&arena, &right)), ("bda".into(), "c".into()));
        assert_eq!(arena.remove(&mut left, places[3]), 'd');
        assert_eq!(arena.push_back(&mut right, 'e'), places[3], "vacant places are reused");
        assert_eq!((values(&arena, &left), values(&arena, &right)), ("ba".into(), "ce".into()));
        assert_eq!((left.len(), right.len()), (2, 2));
        for at in [places[1], places[0]] {
            arena.remove(&mut left, at);
        }
        assert_eq!((left.front(), left.len()), (None, 0));
    }
}
