//! One shard: a thread, pinned where possible, that runs one executor.

use std::{
    cell::Cell,
    future::Future,
    io, panic,
    sync::{Once, mpsc},
    thread,
};

use glommio::{LocalExecutorBuilder, Placement};

use super::{
    abort::exit_now,
    reactor::Reactor,
    runtime,
    runtime::{IO_MEMORY_BYTES, PREEMPT},
};
use crate::env::{ExitCode, say_panic};

/// How to start a shard.
#[derive(Debug, Clone)]
pub struct ShardOptions {
    /// Number of the shard, from 0; names its thread `shard-N`.
    pub index: usize,
    /// The CPU to stay on, or `None` for wherever the kernel likes: the better choice when there are more shards than CPUs.
    pub cpu: Option<usize>,
    /// Bytes registered with the kernel per executor; less than 64 KiB is taken as 64 KiB.
    pub io_memory: usize,
}

impl ShardOptions {
    /// Shard `index`, unpinned, with as little memory as possible.
    pub fn new(index: usize) -> Self {
        Self { index, cpu: None, io_memory: IO_MEMORY_BYTES }
    }
}

thread_local! {
    /// True on the threads of shards.
    static IS_SHARD: Cell<bool> = const { Cell::new(false) };
}

/// Makes a panic on a shard's thread the end of the process. The executor would otherwise pass it up to the thread's end,
/// and the rest of the node would go on without that shard.
fn end_process_on_panic() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if IS_SHARD.get() {
                say_panic(info);
                exit_now(ExitCode::Bug);
            }
            report(info);
        }));
    });
}

/// A running shard.
#[derive(Debug)]
pub struct ShardHandle<T>(thread::JoinHandle<Option<T>>);

impl<T> ShardHandle<T> {
    /// Waits for the shard to end, and returns what its future did.
    pub fn join(self) -> T {
        self.0.join().ok().flatten().expect("a shard whose executor started ends with a value, or ends the process")
    }

    /// True once the shard has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// Starts a thread that runs the future made by `start` until it ends. Returns once its executor exists.
///
/// A panic on that thread, in whatever task, ends the process with [`ExitCode::Bug`] after the usual message.
///
/// # Errors
///
/// When the thread or its executor cannot be made: the CPU is not there, or the kernel refuses io_uring or its memory.
pub fn spawn_shard<S, F, T>(options: ShardOptions, start: S) -> io::Result<ShardHandle<T>>
where
    S: FnOnce() -> F + Send + 'static,
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    end_process_on_panic();
    let (ready, started) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name(format!("shard-{}", options.index)).spawn(move || {
        IS_SHARD.set(true);
        let placement = options.cpu.map_or(Placement::Unbound, Placement::Fixed);
        let made = LocalExecutorBuilder::new(placement)
            .io_memory(options.io_memory.max(IO_MEMORY_BYTES))
            .preempt_timer(PREEMPT)
            .make()
            .map_err(io::Error::from)
            .and_then(|executor| Ok((executor, Reactor::new()?)));
        // The starting thread waits for this message; if it is gone, so is everybody who could care.
        match made {
            Ok((executor, reactor)) => {
                let _ = ready.send(Ok(()));
                Some(runtime::run(&executor, &reactor, async move { start().await }))
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                None
            }
        }
    })?;
    started.recv().map_err(|_| io::Error::other("the shard's thread ended before its executor started"))??;
    Ok(ShardHandle(thread))
}
