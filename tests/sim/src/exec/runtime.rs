//! openraft's runtime on the simulated executor.

use std::{
    fmt,
    future::{Future, ready},
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use kahuna_shards::env::{
    ClockInstant, Elapsed, Timeout,
    local::{LocalMpsc, LocalMutex, LocalOneshot, LocalWatch, OneshotReceiver},
};
use openraft::{AsyncRuntime, Instant, rt::OptionalSend};

use super::{SimRng, Sleep, VirtualClock, World, current};

/// openraft's view of a [`World`]. Its functions act on the world that runs on the calling thread; a value of this type is a
/// world of its own.
#[derive(Debug)]
pub struct SimRuntime {
    world: World,
}

impl SimRuntime {
    /// A runtime over a fresh world with this seed.
    pub fn with_seed(seed: u64) -> Self {
        Self { world: World::new(seed) }
    }
}

/// The task is gone: its node was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskGone;

impl fmt::Display for TaskGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task's node was killed")
    }
}

impl std::error::Error for TaskGone {}

/// A task's result to come. Dropping it lets the task run on.
pub struct Join<T>(OneshotReceiver<T>);

impl<T> Future for Join<T> {
    type Output = Result<T, TaskGone>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| TaskGone)
    }
}

impl AsyncRuntime for SimRuntime {
    type JoinError = TaskGone;
    type JoinHandle<T: OptionalSend + 'static> = Join<T>;
    type Sleep = Sleep;
    type Instant = ClockInstant<VirtualClock>;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T, Sleep>;
    type ThreadLocalRng = SimRng;
    type Mpsc = LocalMpsc;
    type Watch = LocalWatch;
    type Oneshot = LocalOneshot;
    type Mutex<T: OptionalSend + 'static> = LocalMutex<T>;

    fn spawn<T>(future: T) -> Join<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let (done, joined) = LocalOneshot::pair();
        let world = current();
        world.spawn(async move {
            // Nobody listens when the handle was dropped: the task was detached.
            let _ = done.send(future.await);
        });
        Join(joined)
    }

    fn sleep(duration: Duration) -> Sleep {
        Self::sleep_until(Self::Instant::now() + duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Sleep {
        Sleep::until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Timeout<F, Sleep> {
        Timeout::new(future, Self::sleep(duration))
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Timeout<F, Sleep> {
        Timeout::new(future, Self::sleep_until(deadline))
    }

    fn is_panic(_: &TaskGone) -> bool {
        false
    }

    fn thread_rng() -> SimRng {
        current().rng.clone()
    }

    fn new(_threads: usize) -> Self {
        Self::with_seed(0)
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.world.block_on(future)
    }

    /// Runs `f` at once: another thread would end at a moment that no seed decides.
    fn spawn_blocking<F, T>(f: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        ready(Ok(f()))
    }
}
