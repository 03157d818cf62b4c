//! Driving a future on a ring without an executor: for tests and offline tools.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::UringDisk;

/// Polls `future` on this thread until it is ready; while it waits, blocks for completions of `disk`'s ring. Returns when
/// nothing is in flight there any more: what was given up on the way, such as the removal of a file, has happened too.
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
                while disk.in_flight() > 0 {
                    wait(disk);
                }
                return output;
            }
            // A future that keeps waking itself must not keep completions from the others.
            disk.look();
        }
        assert!(disk.in_flight() > 0, "the future waits, but nothing is in flight that could wake it");
        wait(disk);
    }
}

fn wait(disk: &UringDisk) {
    disk.wait().expect("waiting on an io_uring with operations in flight succeeds");
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::future::poll_fn;

    use super::*;
    use crate::Disk;

    #[test]
    fn what_was_given_up_has_happened() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("segment");
        let disk = UringDisk::new(8).expect("io_uring");
        for _ in 0..100 {
            fs::write(&path, b"old").expect("there is room");
            block_on(&disk, async {
                let mut removal = pin!(disk.remove(&path));
                poll_fn(|context| Poll::Ready(removal.as_mut().poll(context).is_pending())).await
            });
            assert!(!path.exists());
        }
    }
}
