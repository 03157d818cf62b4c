//! The boot gate: a replica that was just started does not vote.

use std::time::Duration;

use kahuna_protocol::{ErrorCode, ErrorReply};

use crate::env::Env;

/// Closed until the lease that the replica may have granted before its start is over.
#[derive(Clone, Copy, Debug)]
pub struct BootGate {
    until: Duration,
}

impl BootGate {
    /// A gate that opens at `until`, as time since boot.
    pub fn new(until: Duration) -> Self {
        Self { until }
    }

    /// Whether votes are kept back.
    pub fn is_closed<E: Env>(self) -> bool {
        E::boot_clock() < self.until
    }

    /// How long votes are kept back.
    pub fn left<E: Env>(self) -> Duration {
        self.until.saturating_sub(E::boot_clock())
    }

    /// Lets a vote or a transfer of the leadership pass.
    ///
    /// # Errors
    /// `NotReady` while the gate is closed.
    pub fn pass<E: Env>(self) -> Result<(), ErrorReply> {
        if !self.is_closed::<E>() {
            return Ok(());
        }
        let mut error = ErrorReply::new(ErrorCode::NotReady, "the replica was just started and does not vote yet");
        error.retry_after_ms = u32::try_from(self.left::<E>().as_millis()).unwrap_or(u32::MAX);
        Err(error)
    }
}
