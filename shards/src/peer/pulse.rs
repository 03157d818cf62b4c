//! The heartbeat between nodes: that a node lives, its boot id, and what its clocks show.

use kahuna_protocol::frame::{access, archive_into, to_owned};
pub use kahuna_protocol::kinds::{KIND_ERROR, KIND_PROBE, KIND_PROBE_REPLY, KIND_PULSE, KIND_PULSE_REPLY};
use kahuna_protocol::{ClusterId, ErrorReply, FrameError};
use rkyv::{Archive, Archived, Deserialize, Serialize};

/// The body of both heartbeat frames.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Pulse {
    /// Random per process.
    pub boot_id: u64,
    /// The sender's wall clock, in nanoseconds since 1970.
    pub wall_ns: u64,
    /// The clock that the sender goes by, the same way; 0 before it knows which.
    pub agreed_ns: u64,
    /// The cluster; all zero while the node is pending.
    pub cluster: ClusterId,
    /// One counter per shard, which rises as long as the shard runs.
    pub progress: Vec<u64>,
}

impl Pulse {
    /// Appends the archived body.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        archive_into(self, out);
    }

    /// # Errors
    /// `Body` when it does not validate.
    pub(super) fn decode(kind: u16, body: &[u8]) -> Result<Self, FrameError> {
        Ok(to_owned(access::<Archived<Self>>(kind, body)?))
    }
}

/// Validates the body of an error frame and copies it out.
pub(super) fn decode_error(body: &[u8]) -> Result<ErrorReply, FrameError> {
    Ok(to_owned(access::<Archived<ErrorReply>>(KIND_ERROR, body)?))
}
