//! The line beside its model, and what it promises by itself.

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
const NS: Duration = Duration::from_nanos(1);

fn line(latency: Duration, rate: Option<u64>, buffer: usize) -> Line {
    Line::new(LinkConfig::new(latency, rate, buffer).unwrap(), 0)
}

fn write(line: &mut Line, now: Instant, count: usize) -> usize {
    match line.write(now, &vec![7; count]) {
        Turn::Done(written) => written.unwrap(),
        Turn::Wait(_) => 0,
    }
}

/// How many bytes are read; `None` at the end.
fn read(line: &mut Line, now: Instant) -> Option<usize> {
    let mut bytes = vec![0; 1 << 20];
    let mut into = ReadBuf::new(&mut bytes);
    match line.read(now, &mut into) {
        Turn::Wait(_) => Some(0),
        Turn::Done(read) => Some(read.map(|()| into.filled().len()).unwrap()).filter(|count| *count > 0),
    }
}

/// When the writer is to come back.
fn room_at(line: &mut Line, now: Instant) -> Option<Instant> {
    match line.write(now, &[7]) {
        Turn::Wait(due) => due,
        Turn::Done(_) => panic!("there is room"),
    }
}

#[test]
fn a_byte_arrives_a_latency_after_it_left_and_not_a_nanosecond_before() {
    let start = Instant::now();
    let mut line = line(5 * MS, Some(3), 10);
    assert_eq!(write(&mut line, start, 2), 2);
    // A third of a second, rounded up.
    let first = start + 333_333_334 * NS + 5 * MS;
    assert_eq!(read(&mut line, first - NS), Some(0));
    assert_eq!(read(&mut line, first), Some(1));
    // Two thirds: the rounding of the first byte does not delay the second.
    let second = start + 666_666_667 * NS + 5 * MS;
    assert_eq!(read(&mut line, second - NS), Some(0));
    assert_eq!(read(&mut line, second), Some(1));
}

#[test]
fn a_million_writes_do_not_drift() {
    let start = Instant::now();
    let (rate, buffer) = (999_983, 64);
    let mut line = line(MS, Some(rate), buffer);
    let (mut now, mut written) = (start, 0);
    let mut bytes = [0; 64];
    for i in 0..1_000_000 {
        let count = write(&mut line, now, 1 + i % 7);
        written += count as u64;
        if count == 0 {
            now = room_at(&mut line, now).unwrap();
        }
        let _ = line.read(now, &mut ReadBuf::new(&mut bytes));
    }
    let last = line.runs.back().unwrap().departure(written - 1) - start;
    let exact = (u128::from(written) * NANOS_PER_SECOND).div_ceil(u128::from(rate));
    assert_eq!(last.as_nanos(), exact);
    // It was full all the time, and is still.
    assert!(start + last - now < Duration::from_micros(buffer as u64 + 1));
}

#[test]
fn a_writer_that_is_woken_late_loses_no_throughput() {
    let start = Instant::now();
    let mut line = line(Duration::ZERO, Some(1_000_000), 100);
    let mut arrived = 0;
    for ms in 0..=1000 {
        let now = start + ms * MS;
        while write(&mut line, now, 33) > 0 {}
        arrived += read(&mut line, now).unwrap();
        assert!(arrived <= ms as usize * 1000, "faster than its rate: {arrived} bytes in {ms} ms");
    }
    assert!(arrived > 995_000, "{arrived}");
}

#[test]
fn only_a_writer_that_waited_counts_as_earlier_and_by_the_timers_coarseness() {
    let start = Instant::now();
    let mut line = line(Duration::ZERO, Some(1_000_000), 100);
    assert_eq!(write(&mut line, start, 50), 50);
    // It had room, and writes when it likes.
    assert_eq!(write(&mut line, start + 10 * MS, 50), 50);
    assert_eq!(read(&mut line, start + 10 * MS), Some(50));
    assert_eq!(write(&mut line, start + 10 * MS, 100), 50);
    let due = room_at(&mut line, start + 10 * MS).unwrap();
    // It waited, and comes back far too late.
    assert_eq!(write(&mut line, due + 50 * MS, 100), 100);
    assert_eq!(read(&mut line, due + 50 * MS - GRANULARITY), Some(100));
    assert_eq!(read(&mut line, due + 50 * MS), Some(100));
    // Once is enough.
    assert_eq!(write(&mut line, due + 60 * MS, 100), 100);
    assert_eq!(read(&mut line, due + 60 * MS), Some(0));
}

#[test]
fn an_unread_line_holds_its_window_and_its_buffer() {
    for rate in [Some(10_000_000), None] {
        let start = Instant::now();
        let mut line = line(10 * MS, rate, 1000);
        let window = line.config.window_bytes();
        let (mut written, mut now) = (0, start);
        for _ in 0..100 {
            while let count @ 1.. = write(&mut line, now, 1 << 20) {
                written += count;
            }
            assert!(line.bytes.len() <= window + 1000);
            now += MS;
        }
        assert_eq!(written, window + 1000);
        assert_eq!(room_at(&mut line, now), None);
        // What the reader takes lets as much leave, from then on.
        let mut taken = 0;
        while let Some(count @ 1..) = read(&mut line, now) {
            taken += count;
        }
        assert_eq!(taken, window);
        assert_eq!(read(&mut line, now + 10 * MS - NS), Some(0));
        assert_eq!(read(&mut line, now + 11 * MS), Some(1000));
    }
}

#[test]
fn no_byte_counts_as_written_before_the_window_opened() {
    let start = Instant::now();
    let mut line = line(Duration::ZERO, Some(1_000_000), 100);
    let window = line.config.window_bytes();
    let (mut now, mut written) = (start, write(&mut line, start, window % 100));
    while written < window {
        now += MS / 10;
        written += write(&mut line, now, 100);
    }
    // The buffer is full, and so is the window: both have room when the writer comes late.
    let late = room_at(&mut line, now).unwrap() + MS;
    assert_eq!(read(&mut line, late), Some(window));
    assert_eq!(write(&mut line, late, 100), 100);
    assert_eq!(read(&mut line, late), Some(0));
    assert_eq!(read(&mut line, late + MS / 10), Some(100));
}

#[test]
fn an_idle_line_keeps_no_memory() {
    let start = Instant::now();
    let mut line = line(MS, None, 1 << 20);
    assert_eq!(write(&mut line, start, 1 << 20), 1 << 20);
    assert_eq!(read(&mut line, start + MS), Some(1 << 20));
    assert!(line.bytes.capacity() <= IDLE_BYTES && line.runs.len() == 1);
}

#[test]
fn the_end_arrives_after_the_last_byte() {
    let start = Instant::now();
    let mut line = line(10 * MS, Some(1000), 100);
    write(&mut line, start, 5);
    line.end(start);
    assert!(matches!(line.write(start, &[1]), Turn::Done(Err(_))));
    assert_eq!(read(&mut line, start + 14 * MS), Some(4));
    assert_eq!(read(&mut line, start + 15 * MS - NS), Some(0));
    assert_eq!(read(&mut line, start + 15 * MS), Some(1));
    assert_eq!(read(&mut line, start + 15 * MS), None);
}

#[test]
fn the_end_of_an_idle_line_takes_a_latency() {
    let start = Instant::now();
    let mut line = line(10 * MS, Some(1000), 100);
    line.end(start);
    assert_eq!(read(&mut line, start + 10 * MS - NS), Some(0));
    assert_eq!(read(&mut line, start + 10 * MS), None);
}

#[test]
fn a_line_without_a_reader_breaks_a_latency_later() {
    let start = Instant::now();
    let mut line = line(10 * MS, Some(1), 100);
    assert_eq!(write(&mut line, start, 50), 50);
    line.abandon(start);
    assert_eq!(write(&mut line, start, 500), 50);
    assert!(line.bytes.is_empty(), "nobody will read it");
    // It learns that before the next byte leaves.
    assert_eq!(room_at(&mut line, start), Some(start + 10 * MS));
    let broken = line.write(start + 10 * MS, &[1]);
    assert!(matches!(broken, Turn::Done(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe));
}

/// When each byte may be read, byte by byte, in units of a nanosecond's share of the rate.
#[derive(Default)]
struct Model {
    written: Vec<u128>,
    read: Vec<u128>,
    left: Vec<u128>,
}

impl Model {
    /// How many bytes have left `now`, if at most `window` are on their way and unread.
    fn departed(&mut self, now: u128, window: usize) -> usize {
        while let Some(&written) = self.written.get(self.left.len()) {
            let number = self.left.len();
            let Some(open) = number.checked_sub(window).map_or(Some(0), |i| self.read.get(i).copied()) else {
                break;
            };
            let before = self.left.last().copied().unwrap_or(0);
            self.left.push(before.max(written).max(open) + NANOS_PER_SECOND);
        }
        self.left.partition_point(|left| *left <= now)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_does_as_a_model_that_moves_each_byte_by_itself(
        rate in 1_000_000u64..100_000_000,
        latency_micros in 0u64..3_000,
        buffer in 1usize..50_000,
        steps in proptest::collection::vec((0u64..2_000_000, 0usize..60_000, 0usize..60_000), 1..60),
    ) {
        let latency = Duration::from_micros(latency_micros);
        let start = Instant::now();
        let (mut line, mut model) = (line(latency, Some(rate), buffer), Model::default());
        let window = line.config.window_bytes();
        let mut now = Duration::ZERO;
        for (nanos, writes, reads) in steps {
            now += Duration::from_nanos(nanos);
            let at = now.as_nanos() * u128::from(rate);
            let unsent = model.written.len() - model.departed(at, window);
            // As a writer that does not wait, and so never counts as earlier.
            let writes = writes.min(buffer - unsent);
            prop_assert_eq!(write(&mut line, start + now, writes), writes);
            model.written.extend(std::iter::repeat_n(at, writes));

            let before = now.checked_sub(latency).map_or(0, |then| then.as_nanos() * u128::from(rate));
            let arrived = model.departed(before, window) - model.read.len();
            let mut bytes = vec![0; reads];
            let mut into = ReadBuf::new(&mut bytes);
            let _ = line.read(start + now, &mut into);
            prop_assert_eq!(into.filled().len(), arrived.min(reads));
            model.read.extend(std::iter::repeat_n(at, into.filled().len()));
        }
    }
}

#[test]
fn a_rate_that_changes_holds_for_what_has_not_left() {
    let start = Instant::now();
    let mut line = line(10 * MS, Some(1_000), 100);
    assert_eq!(write(&mut line, start, 100), 100);
    // Of a hundred bytes forty have left; the others leave ten times as slowly, and then all at once.
    line.set_rate(start + 40 * MS, Some(100)).unwrap();
    assert_eq!(read(&mut line, start + 50 * MS - NS), Some(39));
    assert_eq!(read(&mut line, start + 50 * MS), Some(1));
    assert_eq!(read(&mut line, start + 60 * MS - NS), Some(0));
    assert_eq!(read(&mut line, start + 60 * MS), Some(1));
    assert_eq!(read(&mut line, start + 140 * MS), Some(8));
    line.set_rate(start + 140 * MS, None).unwrap();
    assert_eq!(read(&mut line, start + 149 * MS), Some(0), "one had left, and is on its way");
    assert_eq!(read(&mut line, start + 150 * MS), Some(51));
    assert_eq!(read(&mut line, start + 1_000 * MS), Some(0));
    assert!(line.set_rate(start, Some(0)).is_err());
}

#[test]
fn a_writer_learns_of_a_rate_that_changes_when_it_comes_again() {
    let start = Instant::now();
    let mut line = line(Duration::ZERO, Some(100), 100);
    assert_eq!(write(&mut line, start, 100), 100);
    assert_eq!(room_at(&mut line, start), Some(start + 10 * MS));
    line.set_rate(start + 5 * MS, Some(1)).unwrap();
    assert_eq!(room_at(&mut line, start + 5 * MS), Some(start + 1_005 * MS));
    line.set_rate(start + 505 * MS, Some(1_000)).unwrap();
    assert_eq!(room_at(&mut line, start + 505 * MS), Some(start + 506 * MS));
    assert_eq!(read(&mut line, start + 606 * MS), Some(100));
}

#[test]
fn a_line_that_gets_slow_loses_nothing_and_takes_no_more_than_its_window() {
    let start = Instant::now();
    let mut line = line(50 * MS, None, 1_000);
    let mut written = 0;
    while let count @ 1.. = write(&mut line, start + MS, 1 << 20) {
        written += count;
    }
    line.set_rate(start + 2 * MS, Some(1_000)).unwrap();
    let mut now = start + 2 * MS;
    for _ in 0..50 {
        now += 10 * MS;
        assert_eq!(write(&mut line, now, 1_000), 0, "neither window nor buffer has room");
    }
    line.set_rate(now, None).unwrap();
    let mut taken = 0;
    while let Some(count @ 1..) = read(&mut line, now) {
        taken += count;
        now += 60 * MS;
    }
    assert_eq!(taken, written);
}
