//! One clock for many links.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Whoever is told when its time has come.
pub(super) trait Due: Send + Sync {
    /// `half` asked to be told now, or earlier.
    fn due(&self, half: Half);
}

/// Which half of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Reader,
    Writer,
}

/// When which line is due, for all links that were made with it.
///
/// A link without one has timers of its own, and wakes a reader once to set its timer and once more when it is due.
/// With thousands of links, that costs more than all that is done with the bytes.
pub(crate) struct Timetable {
    entries: Mutex<Entries>,
    /// The first entry is another.
    changed: Notify,
}

struct Entries {
    heap: BinaryHeap<Reverse<Entry>>,
    /// Numbers entries, so that those of one instant are told in their order.
    next: u64,
}

struct Entry {
    at: Instant,
    number: u64,
    line: Weak<dyn Due>,
    half: Half,
}

impl fmt::Debug for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timetable").field("entries", &self.entries().heap.len()).finish_non_exhaustive()
    }
}

impl Timetable {
    /// Makes an empty one. Nothing arrives on its links unless [`run`](Self::run) is polled.
    pub(crate) fn new() -> Arc<Self> {
        let entries = Entries { heap: BinaryHeap::new(), next: 0 };
        Arc::new(Self { entries: Mutex::new(entries), changed: Notify::new() })
    }

    /// Tells each line when it is due; for ever.
    ///
    /// Cancel-safe: what was not told yet is told when it runs again.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let first = self.entries().heap.peek().map(|Reverse(entry)| entry.at);
            match first {
                None => self.changed.notified().await,
                Some(at) => tokio::select! {
                    biased;
                    () = self.changed.notified() => {}
                    () = sleep_until(at) => self.tell(Instant::now()),
                },
            }
        }
    }

    pub(super) fn add(&self, at: Instant, line: Weak<dyn Due>, half: Half) {
        let mut entries = self.entries();
        let earliest = entries.heap.peek().is_none_or(|Reverse(first)| at < first.at);
        let number = entries.next;
        entries.next += 1;
        entries.heap.push(Reverse(Entry { at, number, line, half }));
        drop(entries);
        if earliest {
            self.changed.notify_one();
        }
    }

    fn tell(&self, now: Instant) {
        // Each is told with no lock held: it may ask for another time at once.
        while let Some(entry) = self.entries().pop_due(now) {
            if let Some(line) = entry.line.upgrade() {
                line.due(entry.half);
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // A heap that a panic of the allocator left behind is whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn pop_due(&mut self, now: Instant) -> Option<Entry> {
        let first = self.heap.peek_mut()?;
        (first.0.at <= now).then(|| std::collections::binary_heap::PeekMut::pop(first).0)
    }
}

impl Entry {
    fn order(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinSet;
    use tokio::time::{Instant, advance, sleep, timeout};
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::transport::link::{LinkConfig, LinkHandle, LinkReader, LinkStream, pair, pair_by};

    const MS: Duration = Duration::from_millis(1);

    fn config() -> LinkConfig {
        LinkConfig::new(50 * MS, Some(20_000), 4096).unwrap().with_jitter(7 * MS).unwrap()
    }

    /// What arrives when, and how writing ends, while the way is cut, healed and reset.
    async fn history((near, far, handle): (LinkStream, LinkStream, LinkHandle)) -> Vec<(Duration, String)> {
        let began = Instant::now();
        let writing = async {
            let (_reader, mut writer) = near.into_inner();
            let mut told = Vec::new();
            for round in 0..8_usize {
                // More than the buffer holds, so that the writer waits for room as well.
                let wrote = writer.write_all(&vec![7; 900 * round]).await;
                told.push((began.elapsed(), format!("round {round}: {:?}", wrote.map_err(|e| e.kind()))));
                sleep(30 * MS).await;
            }
            told
        };
        let reading = async {
            let (mut reader, _writer) = far.into_inner();
            let (mut told, mut buffer) = (Vec::new(), [0; 1000]);
            loop {
                let read = reader.read(&mut buffer).await.map_err(|error| error.kind());
                told.push((began.elapsed(), format!("{read:?}")));
                if !matches!(read, Ok(1..)) {
                    return told;
                }
            }
        };
        let cutting = async {
            for (wait, cut) in [(130, Some(true)), (400, Some(false)), (700, None)] {
                sleep(wait * MS).await;
                match cut {
                    Some(cut) => handle.set_cut(true, cut),
                    None => handle.reset(),
                }
            }
        };
        let (mut told, read, ()) = tokio::join!(writing, reading, cutting);
        told.extend(read);
        told
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_by_the_timetable_is_as_one_with_timers_of_its_own() {
        let timetable = Timetable::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&timetable).run());
        let own = history(pair([config(); 2], 3)).await;
        let shared = history(pair_by(&timetable, [config(); 2], 3)).await;
        assert!(own.len() > 20 && own.iter().any(|(_, what)| what.contains("ConnectionReset")), "{own:?}");
        assert_eq!(own, shared);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_booked_for_a_link_that_is_gone_does_nothing_and_the_rest_goes_on() {
        let timetable = Timetable::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&timetable).run());
        let (mut near, far, _) = pair_by(&timetable, [config(); 2], 3);
        let reading = tasks.spawn(async move { drop(far.into_inner().0.read_u8().await) });
        tokio::task::yield_now().await;
        near.write_all(b"gone").await.unwrap();
        reading.abort();
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        drop(near);
        let (mut near, mut far, _) = pair_by(&timetable, [config(); 2], 3);
        near.write_all(b"x").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'x');
        advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
        assert_eq!(format!("{timetable:?}"), "Timetable { entries: 0, .. }");
        assert!(tasks.try_join_next().is_none(), "it goes on");
    }

    /// Reads to the end, with pauses, each time in a task of its own: how many bytes that were.
    async fn read_in_turns(mut reader: LinkReader, mut draws: ChaCha8Rng) -> u64 {
        let mut count = 0;
        loop {
            let (size, pause) = (1 + draws.next_u32() % 3000, draws.next_u32() % 4);
            let reading = TaskTracker::new().spawn(async move {
                if pause == 0 {
                    sleep((size % 200) * MS).await;
                }
                let mut buffer = vec![0; size as usize];
                // A read that is given up leaves its waker behind.
                let early = timeout(pause * 9 * MS, reader.read(&mut buffer)).await;
                let read = match early {
                    Ok(read) => read,
                    Err(_) => reader.read(&mut buffer).await,
                };
                (reader, read)
            });
            let (back, read) = reading.await.unwrap();
            reader = back;
            match read.unwrap() {
                0 => return count,
                more => count += more as u64,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_happens_to_a_link_all_arrives_once_it_is_whole_and_little_is_booked() {
        let timetable = Timetable::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&timetable).run());
        for seed in 0..300 {
            let mut draws = ChaCha8Rng::seed_from_u64(seed);
            let (near, far, handle) = pair_by(&timetable, [config(); 2], seed);
            let (far_reader, _far_writer) = far.into_inner();
            let reading = TaskTracker::new().spawn(read_in_turns(far_reader, draws.clone()));
            let (near_reader, mut writer) = near.into_inner();
            let mut sizes = draws.clone();
            let writing = TaskTracker::new().spawn(async move {
                let mut count = 0;
                for _ in 0..20 {
                    let size = sizes.next_u32() % 5000;
                    writer.write_all(&vec![1; size as usize]).await.unwrap();
                    count += u64::from(size);
                    sleep((sizes.next_u32() % 90) * MS).await;
                }
                drop(writer);
                count
            });
            for _ in 0..60 {
                sleep((draws.next_u32() % 40) * MS).await;
                let (what, forth, rate) =
                    (draws.next_u32(), draws.next_u32() % 3 > 0, draws.next_u32() % 50_000);
                match what % 3 {
                    0 => handle.set_cut(forth, true),
                    1 => handle.set_cut(forth, false),
                    _ => handle.set_rate(forth, Some(u64::from(rate) + 1).filter(|_| what % 4 > 0)).unwrap(),
                }
                let booked = timetable.entries().heap.len();
                assert!(booked < 64, "{booked} are booked for one link, seed {seed}");
            }
            for forth in [true, false] {
                handle.set_cut(forth, false);
                handle.set_rate(forth, Some(100_000)).unwrap();
            }
            let hour = Duration::from_secs(3600);
            let wrote =
                timeout(hour, writing).await.unwrap_or_else(|_| panic!("the writer sleeps, seed {seed}"));
            let read =
                timeout(hour, reading).await.unwrap_or_else(|_| panic!("the reader sleeps, seed {seed}"));
            assert_eq!(wrote.unwrap(), read.unwrap(), "seed {seed}");
            drop(near_reader);
        }
        advance(Duration::from_secs(120)).await;
        tokio::task::yield_now().await;
        assert_eq!(timetable.entries().heap.len(), 0);
    }
}
