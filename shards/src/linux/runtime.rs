//! openraft's runtime on the shard's executor.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, task::JoinHandle};
use openraft::{AsyncRuntime, Instant, rt::OptionalSend};

use super::{
    BootClock, Sleep,
    reactor::{Reactor, counted},
};
use crate::env::{
    ClockInstant, Elapsed, Timeout,
    local::{LocalMpsc, LocalMutex, LocalOneshot, LocalWatch},
};

/// Buffers that each executor registers with the kernel, counted against RLIMIT_MEMLOCK. All I/O is on our own ring, so the
/// least the executor accepts is enough.
pub(super) const IO_MEMORY_BYTES: usize = 64 << 10;

/// When a busy executor is preempted to look at its own rings: practically never, for nothing happens there. Should this timer
/// fire between its arming and the first task, which takes no more than a busy host, the executor parks with ready tasks in
/// its queue, and nothing ends that.
pub(super) const PREEMPT: Duration = Duration::from_secs(3600);

/// openraft's view of an executor. Its functions act on the executor that runs on the calling thread; a value of this type
/// is an executor of its own for tests and tools. Shards are started with [`spawn_shard`](super::spawn_shard).
#[derive(Debug)]
pub struct Runtime {
    executor: LocalExecutor,
}

/// A task ended without a result: it was cancelled because its executor ended. (A panic ends the process.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was cancelled")
    }
}

impl std::error::Error for Cancelled {}

/// A task's result to come. Dropping it lets the task run on.
pub struct Join<T>(JoinHandle<T>);

impl<T> Future for Join<T> {
    type Output = Result<T, Cancelled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|output| output.ok_or(Cancelled))
    }
}

/// Runs `future` on `executor` until it ends; `reactor` waits for whatever its tasks wait for.
pub(super) fn run<T>(executor: &LocalExecutor, reactor: &Rc<Reactor>, future: impl Future<Output = T>) -> T {
    let _installed = reactor.install();
    executor.run(async {
        let driver = glommio::spawn_local(reactor.clone().drive());
        let output = counted(future).await;
        driver.cancel().await;
        output
    })
}

impl AsyncRuntime for Runtime {
    type JoinError = Cancelled;
    type JoinHandle<T: OptionalSend + 'static> = Join<T>;
    type Sleep = Sleep;
    type Instant = ClockInstant<BootClock>;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T, Sleep>;
    type ThreadLocalRng = rand::rngs::ThreadRng;
    type Mpsc = LocalMpsc;
    type Watch = LocalWatch;
    type Oneshot = LocalOneshot;
    type Mutex<T: OptionalSend + 'static> = LocalMutex<T>;

    fn spawn<T>(future: T) -> Join<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        Join(glommio::spawn_local(counted(future)).detach())
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

    fn is_panic(_: &Cancelled) -> bool {
        false
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        rand::rng()
    }

    fn new(_threads: usize) -> Self {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(IO_MEMORY_BYTES)
            .preempt_timer(PREEMPT)
            .make()
            .expect("this host can run an executor: probe it before");
        Self { executor }
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        let reactor = Reactor::new().expect("this host has io_uring, and this process may open another file");
        run(&self.executor, &reactor, future)
    }
}
