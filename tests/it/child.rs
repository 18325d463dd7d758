//! A child process that is driven by lines, and never outlives its test.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// How long any one thing may take, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// What `work` brings, or a failure that names what was waited for.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// The binary under test.
pub(crate) fn peerage(arguments: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peerage"));
    command.args(arguments).env_remove("RUST_LOG");
    Running::start(command)
}

/// A child that runs. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
    /// What it printed so far, to show when a test fails.
    seen: Vec<String>,
}

/// How a child ended, and what it printed that was not read before.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { stdin: child.stdin.take(), stdout, stderr, child, seen: Vec::new() }
    }

    /// The next line on standard output; `None` at its end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let Ok(line) = timeout(PATIENCE, self.stdout.next_line()).await else {
            panic!("no line within {PATIENCE:?}; so far:\n{}", self.seen.join("\n"))
        };
        let line = line.unwrap();
        self.seen.extend(line.clone());
        line
    }

    /// The next line on standard output that contains `part`.
    pub(crate) async fn line_with(&mut self, part: &str) -> String {
        loop {
            match self.line().await {
                Some(line) if line.contains(part) => return line,
                Some(_) => {}
                None => panic!("ended without `{part}`:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// The next object on standard output; every line must be one.
    pub(crate) async fn object(&mut self) -> Value {
        let Some(line) = self.line().await else { panic!("ended early:\n{}", self.seen.join("\n")) };
        object(&line)
    }

    /// The next object that tells of `event`.
    pub(crate) async fn event(&mut self, event: &str) -> Value {
        loop {
            let object = self.object().await;
            if object["event"] == event {
                return object;
            }
        }
    }

    /// The next line on standard error.
    pub(crate) async fn complaint(&mut self) -> String {
        soon("a line on standard error", self.stderr.next_line()).await.unwrap().unwrap()
    }

    pub(crate) async fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        stdin.flush().await.unwrap();
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends the signal of that name, as `kill` knows it.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Ended {
        let mut ended = Ended { code: None, stdout: Vec::new(), stderr: Vec::new() };
        while let Some(line) = self.line().await {
            ended.stdout.push(line);
        }
        while let Some(line) = soon("the end of standard error", self.stderr.next_line()).await.unwrap() {
            ended.stderr.push(line);
        }
        ended.code = soon("the end of the child", self.child.wait()).await.unwrap().code();
        ended
    }
}

/// One JSON object, and nothing else.
pub(crate) fn object(line: &str) -> Value {
    match serde_json::from_str(line) {
        Ok(value @ Value::Object(_)) => value,
        _ => panic!("not one JSON object: {line}"),
    }
}
