//! What is written, and what happens when it cannot be.

use std::io::Write;
use std::sync::mpsc;

use tokio::runtime;

use super::*;
use crate::router::Router;
use crate::transport::memory::MemoryNetwork;

/// A disk that writes nothing until it is let go, and then as much as it is told.
struct Disk {
    file: Memory,
    go: mpsc::Receiver<()>,
    room: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // An error means that whoever held it has gone: go on.
        let _ = self.go.recv();
        if self.room == 0 {
            return Err(io::Error::other("no space left"));
        }
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        self.file.write(&bytes[..taken])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl writer::Sink for Disk {
    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.file.cut(bytes)
    }
}

fn disk(room: usize) -> (Disk, Memory, mpsc::SyncSender<()>) {
    let (go, held) = mpsc::sync_channel(0);
    let file = Memory::default();
    (Disk { file: file.clone(), go: held, room }, file, go)
}

fn inputs(text: &str) -> u64 {
    text.lines().filter(|line| line.starts_with(r#"{"input""#)).count() as u64
}

#[test]
fn a_journal_ends_with_its_node_and_is_whole_when_its_recorder_is_dropped() {
    let text = sample();
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with(r#"{"end":"#) && last.contains(&format!(r#""inputs":{}"#, inputs(&text))),
        "{last}"
    );
    assert!(text.ends_with("}\n"));
}

#[test]
fn a_journal_keeps_its_limit_and_says_that_it_ended_early() {
    let file = Memory::default();
    let limits = Limits { max_bytes: 6_000, ..Limits::default() };
    let (recorder, journal) = writer::start(file.clone(), limits).unwrap();
    let mut bench = Bench::new(recorder, Config::new(id(0)), &[]);
    for at in 0..200 {
        bench.apply(&Op::PollOutput, Duration::from_secs(at));
    }
    drop(bench);
    let status = journal.finish();
    let text = file.text();
    assert!(text.len() <= 6_000 && text.len() > 5_000, "{} bytes", text.len());
    assert_eq!(status.shortfall, Some(Shortfall::Full { max_bytes: 6_000 }));
    assert_eq!((status.recorded, status.recorded + status.missed), (inputs(&text), 200));
    let (steps, ending) = replay(&text).unwrap();
    assert_eq!(steps.len() as u64, status.recorded);
    assert!(matches!(ending, Ending::Truncated(why) if why.contains("6000 bytes")));
}

#[test]
fn a_disk_that_fails_leaves_whole_lines_and_every_input_is_accounted_for() {
    let (disk, file, go) = disk(4_000);
    let (recorder, journal) = writer::start(disk, Limits::default()).unwrap();
    drop(go);
    let mut bench = Bench::new(recorder, Config::new(id(0)), &[]);
    for at in 0..100 {
        bench.apply(&Op::PollOutput, Duration::from_secs(at));
    }
    drop(bench);
    let status = journal.finish();
    assert_eq!(status.shortfall, Some(Shortfall::Failed("no space left".into())));
    assert_eq!((status.recorded, status.recorded + status.missed), (inputs(&file.text()), 100));
    assert!(file.text().is_empty() || file.text().ends_with('\n'), "no half line");
}

#[test]
fn under_overload_the_journal_ends_with_a_word_about_it_and_the_node_lives_on() {
    let (disk, file, go) = disk(usize::MAX);
    let limits = Limits { queued_lines: 4, ..Limits::default() };
    let (recorder, journal) = writer::start(disk, limits).unwrap();
    let mut builder = Router::builder(id(0));
    builder.transport(MemoryNetwork::new().listen(id(0))).record_inputs(recorder);
    let router = builder.build().unwrap();
    let handle = router.handle();
    let runtime = runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let report = runtime.block_on(async {
        let used = async {
            for seed in 1..=20 {
                assert_eq!(handle.add(address(seed)).await, Ok(true));
            }
            assert!(matches!(journal.status().shortfall, Some(Shortfall::Overload { queued_lines: 4 })));
            handle.shutdown();
        };
        tokio::join!(router.run(), used).0
    });
    assert!(report.clean);
    drop(go);
    let status = journal.finish();
    let text = file.text();
    assert!(text.lines().last().unwrap().starts_with(r#"{"truncated":"#), "{text}");
    assert!(status.missed >= 20 && status.recorded == inputs(&text), "{status:?}");
    let (steps, ending) = replay(&text).unwrap();
    assert!(steps.iter().all(Step::agrees));
    assert!(matches!(ending, Ending::Truncated(why) if why.contains("4 lines waited")));
}

#[cfg(unix)]
#[test]
fn a_journal_is_made_for_its_owner_alone_and_never_over_another_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("journal");
    drop(create(&file, Limits::default()).unwrap());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(create(&file, Limits::default()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
}

/// `cargo test --release --features journal --lib -- --ignored --nocapture an_input_costs`
#[test]
#[ignore = "prints figures"]
fn an_input_costs_so_much_to_take_note_of() {
    const ROUNDS: u32 = 20_000;
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("journal");
    let limits = Limits { queued_lines: 1 << 20, ..Limits::default() };
    let (recorder, journal) = create(&file, limits).unwrap();
    let mut bench = Bench::new(recorder, Config::new(id(0)), &[]);
    let ops = forms::ops();
    let answered: Vec<(&Op, Answer)> = ops.iter().map(|op| (op, bench.apply(op, Duration::ZERO))).collect();
    let began = epoch();
    for round in 0..ROUNDS {
        for (op, answer) in &answered {
            bench.recorder.record(op, answer, Duration::from_micros(round.into()));
        }
    }
    let each = began.elapsed() / ROUNDS / u32::try_from(ops.len()).unwrap();
    drop(bench);
    let status = journal.finish();
    let bytes = std::fs::metadata(&file).unwrap().len() / (status.recorded.max(1));
    println!("{each:?} and {bytes} bytes for each of {} inputs; {} missed", status.recorded, status.missed);
}
