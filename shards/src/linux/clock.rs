//! The kernel's clocks.
//!
//! Leases and timers run on CLOCK_BOOTTIME, which goes on while the machine is suspended: a lease that ended during the
//! sleep must be seen as ended. The wall clock is CLOCK_REALTIME, read once and advanced by CLOCK_BOOTTIME.

use std::sync::{
    OnceLock,
    atomic::{AtomicI64, Ordering},
};

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::env::{Clock, UnixNanos};

/// CLOCK_BOOTTIME.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootClock;

impl Clock for BootClock {
    fn now_nanos() -> u64 {
        nanos(clock_gettime(ClockId::Boottime))
    }
}

fn nanos(time: Timespec) -> u64 {
    // Both clocks count from boot or from 1970: neither is negative, and 2^64 ns are 584 years.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What is added to CLOCK_BOOTTIME to give the wall clock, in nanoseconds; shared by all shards of the process.
static WALL_MINUS_BOOT: OnceLock<AtomicI64> = OnceLock::new();

/// What [`set_wall_clock_offset_ms`] asked for, in nanoseconds.
static OFFSET: AtomicI64 = AtomicI64::new(0);

fn measure() -> i64 {
    let wall = nanos(clock_gettime(ClockId::Realtime)) as i64;
    wall - BootClock::now_nanos() as i64 + OFFSET.load(Ordering::Relaxed)
}

fn wall_minus_boot() -> &'static AtomicI64 {
    WALL_MINUS_BOOT.get_or_init(|| AtomicI64::new(measure()))
}

pub(super) fn wall_clock() -> UnixNanos {
    let offset = wall_minus_boot().load(Ordering::Relaxed);
    UnixNanos(BootClock::now_nanos().saturating_add_signed(offset))
}

/// See [`Env::resync_wall_clock`](crate::env::Env::resync_wall_clock).
pub(super) fn resync_wall_clock() -> i64 {
    let now = measure();
    now - wall_minus_boot().swap(now, Ordering::Relaxed)
}

/// Makes this process's wall clock differ from the host's by `offset` milliseconds, from now on. A test has no other way
/// to give nodes of one machine clocks that disagree: CLOCK_REALTIME cannot be moved for one process.
pub fn set_wall_clock_offset_ms(offset: i64) {
    OFFSET.store(offset.saturating_mul(1_000_000), Ordering::Relaxed);
    resync_wall_clock();
}
