//! Something that happens once.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::task::AtomicWaker;

/// Is raised once, and stays so. Looking at it takes no lock: each message does.
///
/// One task waits for it at a time: the latest to be polled is woken.
#[derive(Debug, Default)]
pub(super) struct Flag {
    raised: AtomicBool,
    waiting: AtomicWaker,
}

impl Flag {
    pub(super) fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        self.waiting.wake();
    }

    pub(super) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Completes once it is raised. Cancel-safe.
    pub(super) async fn raised(&self) {
        poll_fn(|cx| {
            if self.is_raised() {
                return Poll::Ready(());
            }
            // Registered before it is looked at again, so that nothing falls between the two.
            self.waiting.register(cx.waker());
            if self.is_raised() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_and_whoever_comes_later_learns_of_it() {
        let flag = Flag::default();
        let mut waiting = pin!(flag.raised());
        assert_eq!((waiting.as_mut().now_or_never(), flag.is_raised()), (None, false));
        flag.raise();
        assert!(flag.is_raised());
        waiting.await;
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
