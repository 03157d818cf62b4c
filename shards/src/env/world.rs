//! The trait itself, and wall clock time.

use std::{fmt, future::Future, ops::Add, time::Duration};

use super::{ExitCode, Net, Timeout};

/// Nanoseconds since 1970-01-01 00:00 UTC, by some node's wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// Whole milliseconds since 1970, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// `self - other` in nanoseconds, saturating: what one clock is ahead of another.
    pub fn ahead_of(self, other: Self) -> i64 {
        i64::try_from(i128::from(self.0) - i128::from(other.0)).unwrap_or(if self > other {
            i64::MAX
        } else {
            i64::MIN
        })
    }
}

impl Add<Duration> for UnixNanos {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for UnixNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// Everything a shard needs from the world, carried as one type parameter.
///
/// All functions are of the calling shard's thread: there is no value to pass around, and none to share.
pub trait Env: 'static + Sized {
    /// What openraft runs on: tasks, sleeps, instants of [`boot_clock`](Self::boot_clock), channels, randomness.
    type Runtime: openraft::AsyncRuntime;
    /// Where the log and the snapshots are.
    type Disk: kahuna_wal::Disk;
    /// Connections from and to clients and peers.
    type Net: Net;

    /// The wall clock, for stamps. It was read once, at the start or by the last
    /// [`resync_wall_clock`](Self::resync_wall_clock), and has run on the boot clock since: a jump of the host's clock
    /// cannot reach an entry between two checks.
    fn wall_clock() -> UnixNanos;

    /// Reads the host's wall clock anew and lets [`wall_clock`](Self::wall_clock) run on from there. Returns what it moved
    /// by, in nanoseconds. Only for the node's check of its clock against the others'.
    fn resync_wall_clock() -> i64;

    /// Time since boot, suspended time included: what leases and timers are measured with. Never goes back.
    fn boot_clock() -> Duration;

    /// How many descriptors this process may have; `None` for no limit.
    fn most_open_files() -> Option<u64> {
        None
    }

    /// Runs `future` on this shard until it ends. It cannot be awaited or cancelled, except by the end of the shard.
    fn spawn(future: impl Future<Output = ()> + 'static);

    /// Returns after `duration` or a little later. Sleeps of 5 ms and more share one coarse timer and may take up to 10 ms
    /// longer than asked.
    fn sleep(duration: Duration) -> impl Future<Output = ()>;

    /// `future`, or `None` once `limit` is over (as exact as [`sleep`](Self::sleep)). A future that is ready at the limit
    /// still wins.
    fn timeout<F: Future>(limit: Duration, future: F) -> impl Future<Output = Option<F::Output>> {
        async move { Timeout::new(future, Self::sleep(limit)).await.ok() }
    }

    /// Lets the shard's other ready tasks run, and what has arrived from outside be seen, before this one goes on.
    fn yield_now() -> impl Future<Output = ()>;

    /// `future`, which another thread may wake: the receiving end of a channel between shards, for one. Any other future of a
    /// shard is woken by the shard's own tasks, clock, disk and connections only.
    fn across_threads<F: Future>(future: F) -> impl Future<Output = F::Output> {
        future
    }

    /// Ends the process at once with `code`; `message` goes to stderr: what happened, where, and what to do next. No
    /// destructor runs, nothing more is written or sent: half a node is worse than none.
    fn abort(code: ExitCode, message: &str) -> !;
}
