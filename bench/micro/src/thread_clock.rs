//! Processor time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Counts the processor time, in user and kernel mode, that the calling thread takes from here on.
#[derive(Clone, Copy, Debug)]
pub struct ThreadClock {
    began: Duration,
}

impl ThreadClock {
    /// Begins to count.
    pub fn start() -> Self {
        Self { began: now() }
    }

    /// What the thread took since the start. Ask on the thread that started it.
    pub fn elapsed(&self) -> Duration {
        now().saturating_sub(self.began)
    }
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
