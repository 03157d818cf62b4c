//! A flag that one task waits for.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Set by anybody, waited for by one task at a time; waiting clears it. One that comes before the wait is not lost.
#[derive(Debug, Default)]
pub(super) struct Notice {
    set: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Notice {
    /// Sets the flag and wakes the waiter.
    pub(super) fn notify(&self) {
        self.set.set(true);
        let waker = self.waiting.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns once the flag is set, and clears it.
    pub(super) async fn wait(&self) {
        poll_fn(|cx| {
            if self.set.take() {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
