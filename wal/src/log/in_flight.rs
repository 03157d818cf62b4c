//! Batches on their way to the disk.

use crate::format::Position;
use crate::format::batch::BatchHeader;

/// Writes that may be in flight at once.
pub const MAX_IN_FLIGHT: usize = 2;

/// What is known of a batch whose write is in flight.
pub struct InFlight {
    /// Where it is written.
    pub position: Position,
    pub header: BatchHeader,
    /// How many wait for it.
    pub waiters: usize,
}
