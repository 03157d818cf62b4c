//! Driving a future on a ring without an executor: for tests and offline tools.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::UringDisk;

/// Polls `future` on this thread until it is ready; while it waits, blocks for completions of `disk`'s ring.
///
/// Panics when the future waits for something that is neither on the ring nor woken by its own polling: it would wait
/// forever.
pub fn block_on<F: Future>(disk: &UringDisk, future: F) -> F::Output {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        while woken.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            // A future that keeps waking itself must not keep completions from the others.
            disk.drain();
        }
        assert!(disk.in_flight() > 0, "the future waits, but nothing is in flight that could wake it");
        disk.wait().expect("waiting on an io_uring with operations in flight succeeds");
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
