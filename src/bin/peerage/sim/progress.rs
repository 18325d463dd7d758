//! How far a long run is, on a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes less long shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar on standard error, if that is a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    began: Instant,
    /// Whether the bar is yet to be shown.
    waits: bool,
}

impl Progress {
    /// A bar of that length. `template` is one of indicatif's.
    pub(super) fn new(shown: bool, length: u64, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
        // The templates are constants; one that is none shows the usual bar.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self { bar, began: now(), waits: shown }
    }

    pub(super) fn reached(&mut self, position: u64) {
        if self.waits && self.began.elapsed() >= PATIENCE {
            self.waits = false;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(position);
    }

    /// Says what is being done beside it.
    pub(super) fn says(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// Prints something while the bar is out of its way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Removes the bar, and tells how long it was there for.
    pub(super) fn finish(self) -> Duration {
        self.bar.finish_and_clear();
        self.began.elapsed()
    }
}

/// The time by which a wait of people is measured.
#[allow(clippy::disallowed_methods, reason = "people wait in real time")]
pub(super) fn now() -> Instant {
    Instant::now()
}
