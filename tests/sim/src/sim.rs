//! [`Env`] for the simulated world.

use std::{
    future::{Future, poll_fn},
    task::Poll,
    time::Duration,
};

use kahuna_shards::env::{Env, ExitCode, UnixNanos};
use openraft::AsyncRuntime;

use crate::{SimDisk, SimNet, SimRuntime, exec::current};

/// The simulated world: seeded, virtual time, memory disks and wires.
#[derive(Debug, Clone, Copy)]
pub struct Sim;

impl Env for Sim {
    type Runtime = SimRuntime;
    type Disk = SimDisk;
    type Net = SimNet;

    fn wall_clock() -> UnixNanos {
        current().wall_clock()
    }

    fn resync_wall_clock() -> i64 {
        current().resync_wall_clock()
    }

    fn boot_clock() -> Duration {
        Duration::from_nanos(current().timers.now())
    }

    fn spawn(future: impl Future<Output = ()> + 'static) {
        drop(SimRuntime::spawn(future));
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        SimRuntime::sleep(duration)
    }

    async fn yield_now() {
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn abort(code: ExitCode, message: &str) -> ! {
        current().abort(code, message)
    }
}
