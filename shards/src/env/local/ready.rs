//! Waiting for the tasks that are ready.

use std::future::poll_fn;
use std::task::Poll;

/// Lets every task that is ready now run first, once. A task that gathers what others produce begins with it: a spawned
/// task may run at once, before the one that spawned it goes on. Not for loops, which would keep the executor from
/// looking for completions: those use [`Env::yield_now`](crate::env::Env::yield_now).
pub async fn behind_ready_tasks() {
    let mut queued = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut queued, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
