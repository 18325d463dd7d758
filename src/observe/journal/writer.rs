//! Writes a journal, on a thread of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;

use super::{FORMAT_VERSION, Header, Line};
use crate::peer::{Answer, Op, Record};
use crate::router::{Recorder, Start};

/// Room that is kept for the last line.
const LAST_LINE_BYTES: u64 = 512;
/// Lines are written together up to so many bytes.
const BATCH_BYTES: usize = 64 * 1024;
/// Longest reason in a last line, in bytes.
const WHY_BYTES: usize = 200;

/// How much a journal may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the file. Default 1 GiB. One that is reached ends the journal, not the node.
    pub max_bytes: u64,
    /// Lines that wait for the disk. Default 8,192, some 2 MB. When so many wait the journal ends, not the node.
    pub queued_lines: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 1 << 30, queued_lines: 8192 }
    }
}

/// Why recording stopped before the node did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Shortfall {
    /// The disk did not keep up.
    #[error("{queued_lines} lines waited for the disk, and no more may wait")]
    Overload {
        /// The limit.
        queued_lines: usize,
    },
    /// The file is as long as it may be.
    #[error("the journal may have {max_bytes} bytes and no more")]
    Full {
        /// The limit.
        max_bytes: u64,
    },
    /// The file could not be written.
    #[error("it cannot be written: {0}")]
    Failed(String),
}

/// How far a journal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Inputs that were written.
    pub recorded: u64,
    /// Inputs that were not, since recording had stopped.
    pub missed: u64,
    /// Why it stopped, if it did while the node ran.
    pub shortfall: Option<Shortfall>,
}

/// What the recorder, the thread and the handle share.
#[derive(Debug, Default)]
struct Shared {
    recorded: AtomicU64,
    missed: AtomicU64,
    /// The recorder is gone, so that the thread is about to end.
    over: AtomicBool,
    shortfall: OnceLock<Shortfall>,
}

/// Makes the file of a journal, which must not exist, for its owner alone.
///
/// # Errors
///
/// What the system says.
pub fn create(file: &Path, limits: Limits) -> io::Result<(JournalRecorder, Journal)> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    start(options.open(file)?, limits)
}

/// A line on its way to the thread.
#[derive(Debug)]
struct Handed {
    text: Vec<u8>,
    /// The time in ns, if it is that of an input.
    input: Option<u64>,
}

/// Where a journal goes.
pub(super) trait Sink: Write + Send + 'static {
    /// Drops all behind so many bytes.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;
}

impl Sink for File {
    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)?;
        self.seek(SeekFrom::Start(bytes)).map(drop)
    }
}

pub(super) fn start(sink: impl Sink, limits: Limits) -> io::Result<(JournalRecorder, Journal)> {
    let shared = Arc::new(Shared::default());
    let (sender, receiver) = sync_channel(limits.queued_lines);
    let writing = Arc::clone(&shared);
    let thread = std::thread::Builder::new().name("peerage journal".into());
    let thread = thread.spawn(move || write(sink, receiver, &writing))?;
    let room = limits.max_bytes.saturating_sub(LAST_LINE_BYTES);
    let recorder = JournalRecorder { sender: Some(sender), room, limits, shared: Arc::clone(&shared) };
    Ok((recorder, Journal { shared, thread: Some(thread) }))
}

/// Takes note of inputs for a journal; never waits for the disk once the node runs. Dropped, it ends the journal.
#[derive(Debug)]
pub struct JournalRecorder {
    /// `None` once recording has stopped.
    sender: Option<SyncSender<Handed>>,
    /// Bytes that may still be written.
    room: u64,
    limits: Limits,
    shared: Arc<Shared>,
}

impl JournalRecorder {
    /// The line of a value, if there is room for it; otherwise recording stops.
    fn line(&mut self, value: &impl Serialize) -> Option<Vec<u8>> {
        let line = match line(value) {
            Ok(line) => line,
            Err(error) => return self.stop(Shortfall::Failed(error.to_string())),
        };
        let Some(room) = self.room.checked_sub(line.len() as u64) else {
            return self.stop(Shortfall::Full { max_bytes: self.limits.max_bytes });
        };
        self.room = room;
        Some(line)
    }

    /// Lets the thread write its last line and end.
    fn stop<T>(&mut self, why: Shortfall) -> Option<T> {
        // The first reason counts.
        let _ = self.shared.shortfall.set(why);
        self.sender = None;
        None
    }

    /// Hands an input over without waiting; says whether it did.
    fn hand_over(&mut self, op: &Op, answer: &Answer, at: Duration) -> bool {
        let at = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let Some(text) = self.line(&Line::<(), &Op, &Answer>::Input { at, op, answer }) else { return false };
        let queued_lines = self.limits.queued_lines;
        let handed = self.sender.as_ref().map(|sender| sender.try_send(Handed { text, input: Some(at) }));
        if let Some(Err(TrySendError::Full(_))) = handed {
            self.stop::<()>(Shortfall::Overload { queued_lines });
        }
        matches!(handed, Some(Ok(())))
    }

    /// Hands a line over before the node runs, when the disk may be waited for.
    fn hand_over_waiting(&mut self, value: &impl Serialize) {
        let Some(text) = self.line(value) else { return };
        if self.sender.as_ref().is_some_and(|sender| sender.send(Handed { text, input: None }).is_err()) {
            self.sender = None;
        }
    }
}

impl Recorder for JournalRecorder {
    fn started(&mut self, start: &Start<'_>) {
        self.hand_over_waiting(&Header {
            peerage_journal: FORMAT_VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            seed: start.seed,
            wall_unix_ms: start.wall,
            records: start.records.len() as u64,
            config: start.config.clone(),
        });
        for record in start.records {
            if self.sender.is_some() {
                self.hand_over_waiting(&Line::<&Record, (), ()>::Record(record));
            }
        }
    }

    fn record(&mut self, op: &Op, answer: &Answer, at: Duration) {
        if self.shared.shortfall.get().is_some() {
            // The thread cannot write any more.
            self.sender = None;
        }
        if self.sender.is_none() || !self.hand_over(op, answer, at) {
            self.shared.missed.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for JournalRecorder {
    fn drop(&mut self) {
        self.sender = None;
        self.shared.over.store(true, Relaxed);
    }
}

/// Watches a journal that is being written.
///
/// Dropped after its recorder, it waits until all is written; before, it lets the thread go on alone.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// How far it is.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            recorded: self.shared.recorded.load(Relaxed),
            missed: self.shared.missed.load(Relaxed),
            shortfall: self.shared.shortfall.get().cloned(),
        }
    }

    /// Waits until the node has ended and all is written. It blocks: not for a task that the node's end depends on.
    #[must_use]
    pub fn finish(mut self) -> Status {
        self.join();
        self.status()
    }

    fn join(&mut self) {
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            let _ = self.shared.shortfall.set(Shortfall::Failed("its thread panicked".into()));
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.shared.over.load(Relaxed) {
            self.join();
        }
    }
}

fn line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(256);
    serde_json::to_writer(&mut line, value)?;
    line.push(b'\n');
    Ok(line)
}

/// The thread: whole lines to the sink, until the recorder lets go; then the last line.
#[allow(clippy::needless_pass_by_value, reason = "the thread owns its end of the queue")]
fn write(mut sink: impl Sink, lines: Receiver<Handed>, shared: &Shared) {
    let (mut written, mut at) = (0, 0);
    while let Ok(first) = lines.recv() {
        let batch = Batch::of(first, &lines);
        if let Err(error) = sink.write_all(&batch.text) {
            shared.missed.fetch_add(batch.inputs, Relaxed);
            let _ = shared.shortfall.set(Shortfall::Failed(error.to_string()));
            // Half a line is worse than none; a disk that refuses that too leaves a torn one, which a replay knows.
            let _ = sink.cut(written);
            break;
        }
        written += batch.text.len() as u64;
        at = batch.at.unwrap_or(at);
        shared.recorded.fetch_add(batch.inputs, Relaxed);
    }
    let last = line(&last_line(at, shared)).map_err(io::Error::from);
    if let Err(error) = last.and_then(|last| sink.write_all(&last)) {
        let _ = shared.shortfall.set(Shortfall::Failed(error.to_string()));
        let _ = sink.cut(written);
    }
    if let Some(why) = shared.shortfall.get() {
        tracing::warn!(target: "peerage", "the journal of inputs ended before the node: {why}");
    }
    // After a failure, what was handed over until the recorder heard of it.
    let late = lines.iter().filter(|handed| handed.input.is_some()).count();
    shared.missed.fetch_add(late as u64, Relaxed);
}

/// Lines that are written at once.
struct Batch {
    text: Vec<u8>,
    inputs: u64,
    /// The time of the last input among them.
    at: Option<u64>,
}

impl Batch {
    /// A line, and those that wait behind it.
    fn of(first: Handed, lines: &Receiver<Handed>) -> Self {
        let mut batch = Self { text: first.text, inputs: u64::from(first.input.is_some()), at: first.input };
        while batch.text.len() < BATCH_BYTES
            && let Ok(next) = lines.try_recv()
        {
            batch.text.extend(next.text);
            batch.inputs += u64::from(next.input.is_some());
            batch.at = next.input.or(batch.at);
        }
        batch
    }
}

fn last_line(at: u64, shared: &Shared) -> Line<(), (), ()> {
    let inputs = shared.recorded.load(Relaxed);
    match shared.shortfall.get() {
        None => Line::End { at, inputs },
        Some(why) => {
            let mut why = why.to_string();
            why.truncate((0..=WHY_BYTES).rfind(|&end| why.is_char_boundary(end)).unwrap_or(0));
            Line::Truncated { at, inputs, why }
        }
    }
}
