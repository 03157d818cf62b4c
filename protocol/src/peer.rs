//! What stands before the body of every frame between nodes (a format).

use crate::frame::FrameError;
use crate::{GroupId, ReplicaId};

/// The group and both replicas, [`PeerPrelude::BYTES`] bytes, little endian, before the body of a peer frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerPrelude {
    /// Group the frame is for; the meta group's number where the frame is for no group.
    pub group: GroupId,
    /// The replica that sends, 0 when the sender has none of this group.
    pub from: ReplicaId,
    /// The replica that is meant.
    pub to: ReplicaId,
}

impl PeerPrelude {
    /// Encoded length; the payload of every frame between nodes begins with these bytes.
    pub const BYTES: usize = 24;

    /// The encoded form; bytes 4 to 7 are zero.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0..4].copy_from_slice(&self.group.0.to_le_bytes());
        out[8..16].copy_from_slice(&self.from.0.to_le_bytes());
        out[16..24].copy_from_slice(&self.to.0.to_le_bytes());
        out
    }

    /// Splits a peer frame's payload into its prelude and the rest.
    ///
    /// # Errors
    /// `FrameError::Prelude` when it is too short.
    pub fn split(payload: &[u8]) -> Result<(Self, &[u8]), FrameError> {
        let (head, body) = payload.split_first_chunk::<{ Self::BYTES }>().ok_or(FrameError::Prelude)?;
        let replica = |at: usize| ReplicaId(u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes")));
        let group = GroupId(u32::from_le_bytes(head[0..4].try_into().expect("four bytes")));
        Ok((Self { group, from: replica(8), to: replica(16) }, body))
    }
}
