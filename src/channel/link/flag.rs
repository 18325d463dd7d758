//! Something that happens once.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Is raised once, and stays so. Looking at it takes no lock: each message does.
#[derive(Debug, Default)]
pub(super) struct Flag {
    raised: AtomicBool,
    notify: Notify,
}

impl Flag {
    pub(super) fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    pub(super) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Completes once it is raised. Cancel-safe.
    pub(super) async fn raised(&self) {
        let mut notified = pin!(self.notify.notified());
        // Registered before it is looked at, so that nothing falls between the two.
        notified.as_mut().enable();
        if !self.is_raised() {
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_and_whoever_comes_later_learns_of_it() {
        let flag = Flag::default();
        let mut waiting = pin!(flag.raised());
        let mut other = pin!(flag.raised());
        assert_eq!((waiting.as_mut().now_or_never(), flag.is_raised()), (None, false));
        assert_eq!(other.as_mut().now_or_never(), None);
        flag.raise();
        assert!(flag.is_raised());
        waiting.await;
        other.await;
        flag.raised().await;
    }

    #[test]
    fn what_is_raised_on_another_thread_is_not_missed() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for _ in 0..1000 {
            let flag = Flag::default();
            std::thread::scope(|scope| {
                scope.spawn(|| flag.raise());
                runtime.block_on(flag.raised());
            });
        }
    }
}
