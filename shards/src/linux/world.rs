//! [`Env`] for the real world.

use std::{future::Future, time::Duration};

use rustix::process::{Resource, getrlimit};

use super::{BootClock, Runtime, Tcp, abort, clock, door, reactor};
use crate::env::{Clock, Env, ExitCode, UnixNanos};

/// Linux: glommio, io_uring, sockets, the kernel's clocks.
#[derive(Debug, Clone, Copy)]
pub struct Linux;

impl Env for Linux {
    type Runtime = Runtime;
    type Disk = kahuna_wal::UringDisk;
    type Net = Tcp;

    fn wall_clock() -> UnixNanos {
        clock::wall_clock()
    }

    fn resync_wall_clock() -> i64 {
        clock::resync_wall_clock()
    }

    fn boot_clock() -> Duration {
        Duration::from_nanos(BootClock::now_nanos())
    }

    fn most_open_files() -> Option<u64> {
        getrlimit(Resource::Nofile).current
    }

    fn spawn(future: impl Future<Output = ()> + 'static) {
        glommio::spawn_local(reactor::counted(future)).detach();
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        <Runtime as openraft::AsyncRuntime>::sleep(duration)
    }

    async fn yield_now() {
        reactor::current().yield_now().await;
    }

    fn across_threads<F: Future>(future: F) -> impl Future<Output = F::Output> {
        door::across_threads(future)
    }

    fn abort(code: ExitCode, message: &str) -> ! {
        abort::abort(code, message)
    }
}
