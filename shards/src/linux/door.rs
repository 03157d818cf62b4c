//! How other threads reach a shard's tasks.
//!
//! A waker of the executor that another thread wakes goes through the executor's own reactor, which a shard does not run. So
//! a future that another thread may wake is wrapped: it is polled with a *bell*, which any thread may ring.
//!
//! ```text
//!   other thread: ring ──> bells that rang ──> (the shard sleeps) eventfd ──> the shard's ring
//!   the shard:    takes the bells between two rounds of its tasks, and wakes whom each of them belongs to
//! ```

use std::{
    future::Future,
    io,
    os::fd::OwnedFd,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use pin_project_lite::pin_project;
use rustix::event::{EventfdFlags, eventfd};

use super::reactor;

/// One shard's door.
pub(super) struct Door {
    rang: Mutex<Vec<Arc<Bell>>>,
    /// There is something in `rang`. Written before `is_asleep` is read, as the shard writes that before it reads this: one
    /// of the two sees the other.
    has_rung: AtomicBool,
    /// The shard waits for the eventfd, or is about to.
    is_asleep: AtomicBool,
    event: OwnedFd,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that panics happens under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Door {
    /// The door of a shard that is awake, and a second descriptor of its eventfd: one that the shard watches.
    ///
    /// # Errors
    /// When the process may open no more files.
    pub(super) fn new() -> io::Result<(Arc<Self>, OwnedFd)> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let watched = event.try_clone()?;
        let (has_rung, is_asleep) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok((Arc::new(Self { rang: Mutex::default(), has_rung, is_asleep, event }), watched))
    }

    fn ring(&self, bell: Arc<Bell>) {
        lock(&self.rang).push(bell);
        self.has_rung.store(true, Ordering::SeqCst);
        if self.is_asleep.swap(false, Ordering::SeqCst) {
            // It fails only when it was written 2^64 times; every write is an event, read or not.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    /// The shard is about to sleep; false if somebody has rung, and then it must not.
    pub(super) fn falls_asleep(&self) -> bool {
        self.is_asleep.store(true, Ordering::SeqCst);
        let may_sleep = !self.has_rung.load(Ordering::SeqCst);
        if !may_sleep {
            self.wakes_up();
        }
        may_sleep
    }

    /// The shard runs: whoever rings need not wake it.
    pub(super) fn wakes_up(&self) {
        self.is_asleep.store(false, Ordering::SeqCst);
    }

    /// Wakes whom the bells that rang belong to. On the shard's thread.
    pub(super) fn answer(&self) {
        if !self.has_rung.swap(false, Ordering::SeqCst) {
            return;
        }
        let rang = std::mem::take(&mut *lock(&self.rang));
        for bell in rang {
            // Before its waker is taken: a ring from now on is another one.
            bell.has_rung.store(false, Ordering::SeqCst);
            let waker = lock(&bell.waker).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// What wakes one future from any thread.
struct Bell {
    door: Arc<Door>,
    has_rung: AtomicBool,
    /// Of the executor: put here, woken and dropped by the shard's thread only.
    waker: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if !self.has_rung.swap(true, Ordering::SeqCst) {
            self.door.clone().ring(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.clone().wake();
    }
}

/// The shard's end of a [`Bell`].
struct Owned {
    bell: Arc<Bell>,
    waker: Waker,
}

impl Drop for Owned {
    fn drop(&mut self) {
        // The other thread may keep the bell; the executor's waker in it is this thread's to drop.
        let waker = lock(&self.bell.waker).take();
        drop(waker);
    }
}

pin_project! {
    /// A future that other threads may wake.
    pub(super) struct AcrossThreads<F> {
        #[pin]
        future: F,
        owned: Option<Owned>,
    }
}

/// Wraps `future`: it may be woken by other threads.
pub(super) fn across_threads<F>(future: F) -> AcrossThreads<F> {
    AcrossThreads { future, owned: None }
}

impl<F: Future> Future for AcrossThreads<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let owned = this.owned.get_or_insert_with(|| {
            let bell =
                Bell { door: reactor::current().door(), has_rung: AtomicBool::new(false), waker: Mutex::default() };
            let bell = Arc::new(bell);
            Owned { waker: bell.clone().into(), bell }
        });
        {
            let mut waker = lock(&owned.bell.waker);
            match &mut *waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        this.future.poll(&mut Context::from_waker(&owned.waker))
    }
}
