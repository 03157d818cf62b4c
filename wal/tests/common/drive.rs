//! Drives a log's writer without an executor.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use kahuna_wal::{Disk, Log, LogError};

/// Polls the log's writer beside `work` until `work` is done, then drops the writer: as a process that dies.
pub async fn beside<D: Disk, T>(log: &Log<D>, work: impl Future<Output = T>) -> T {
    alongside(pin!(log.run()), work).await
}

/// Polls a writer beside `work` until `work` is done.
pub async fn alongside<T>(mut run: Pin<&mut impl Future>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut ended = false;
    poll_fn(|context| {
        // Twice, because each may give the other something to do, and only the disk wakes us.
        for _ in 0..2 {
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            ended = ended || run.as_mut().poll(context).is_ready();
        }
        Poll::Pending
    })
    .await
}

/// Lets everything else run once.
pub async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Closes the log behind what is queued, and runs its writer to the end.
pub async fn close<D: Disk>(log: &Log<D>) -> Result<(), LogError> {
    log.close();
    log.run().await
}
