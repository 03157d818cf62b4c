//! Time as the core sees it: handed in, never read.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since some fixed moment; never goes back.
    pub elapsed: Duration,
    /// Unix milliseconds by the wall clock; it may jump.
    pub unix_ms: u64,
}

/// The clocks of the machine, for adapters.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock {
    /// Both clocks, now.
    pub fn now(&self) -> Now {
        Now { elapsed: self.start.elapsed(), unix_ms: unix_ms() }
    }

    /// The instant at which [`Now::elapsed`] is `elapsed`.
    pub fn instant(&self, elapsed: Duration) -> Instant {
        self.start + elapsed
    }
}

/// Unix milliseconds by the wall clock; 0 before 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
