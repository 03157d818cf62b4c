//! Instants of a clock that never goes back, for leases and timers.

use std::{
    fmt::Debug,
    marker::PhantomData,
    ops::{Add, AddAssign, Sub, SubAssign},
    panic::{RefUnwindSafe, UnwindSafe},
    time::Duration,
};

use openraft::Instant;

/// A source of instants: nanoseconds since a fixed point, never decreasing on one thread.
pub trait Clock: Copy + Debug + Ord + Unpin + RefUnwindSafe + UnwindSafe + 'static {
    /// Nanoseconds since the clock's origin.
    fn now_nanos() -> u64;
}

/// A point on clock `C`. Arithmetic saturates at both ends: a point before the origin is the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockInstant<C> {
    nanos: u64,
    clock: PhantomData<C>,
}

impl<C: Clock> ClockInstant<C> {
    /// The point `nanos` nanoseconds after the clock's origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self { nanos, clock: PhantomData }
    }

    /// Nanoseconds since the clock's origin.
    pub const fn as_nanos(self) -> u64 {
        self.nanos
    }
}

impl<C: Clock> Instant for ClockInstant<C> {
    fn now() -> Self {
        Self::from_nanos(C::now_nanos())
    }
}

/// Whole nanoseconds of `duration`, at most `u64::MAX` (584 years).
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl<C: Clock> Add<Duration> for ClockInstant<C> {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::from_nanos(self.nanos.saturating_add(nanos(duration)))
    }
}

impl<C: Clock> Sub<Duration> for ClockInstant<C> {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self::from_nanos(self.nanos.saturating_sub(nanos(duration)))
    }
}

impl<C: Clock> Sub for ClockInstant<C> {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

impl<C: Clock> AddAssign<Duration> for ClockInstant<C> {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl<C: Clock> SubAssign<Duration> for ClockInstant<C> {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}
