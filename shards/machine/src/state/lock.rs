//! A lock's record.

use bytes::Bytes;

use super::record::is_past;

/// The last grant of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The fencing token of that grant.
    pub token: u64,
    /// Who holds it; empty once it is released.
    pub owner: Bytes,
    /// When the lease ends, Unix milliseconds.
    pub deadline_ms: u64,
    /// When it was given back, Unix milliseconds of machine time.
    pub released_ms: Option<u64>,
}

impl Lock {
    /// Whether somebody holds it at `time_ms`.
    pub fn is_held(&self, skew_ms: u64, time_ms: u64) -> bool {
        self.released_ms.is_none() && !is_past(self.deadline_ms, skew_ms, time_ms)
    }

    /// The last millisecond in which it is held, or was.
    pub fn end_ms(&self, skew_ms: u64) -> u64 {
        self.released_ms.unwrap_or_else(|| self.deadline_ms.saturating_add(skew_ms))
    }
}
