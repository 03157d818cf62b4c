//! What stands before every request's body: identity, deadline and how it is to be served (a format).

use crate::SessionId;
use crate::frame::FrameError;

/// How durable a write is before it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Durability {
    /// Replicated and flushed by a majority.
    #[default]
    Persistent = 0,
    /// In the leader's memory only.
    Ephemeral = 1,
}

/// What a read may show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ReadLevel {
    /// Everything acknowledged before the read began (ReadIndex).
    #[default]
    Linearizable = 0,
    /// The same as long as the leader's lease and the clocks' rates hold.
    Lease = 1,
    /// What any replica has applied.
    Stale = 2,
}

/// The fixed part of a request, [`RequestPrelude::BYTES`] bytes, little endian, between header and body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestPrelude {
    /// The client's session; 0 for a request that is not deduplicated (a read).
    pub session: SessionId,
    /// The request's number within the session, from 1, rising.
    pub number: u64,
    /// Every number below this one has been answered: its record may be forgotten.
    pub acknowledged: u64,
    /// Unix milliseconds after which the request must not be applied any more.
    pub valid_until_ms: u64,
    /// How long the sender waits, in milliseconds from the sending on; forwarding shrinks it.
    pub timeout_ms: u32,
    /// What a read may show.
    pub read: ReadLevel,
    /// How durable a write is.
    pub durability: Durability,
}

impl RequestPrelude {
    /// Encoded length; the payload of every request begins with these bytes.
    pub const BYTES: usize = 40;

    /// The encoded form; bytes 38 and 39 are zero.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0..8].copy_from_slice(&self.session.0.to_le_bytes());
        out[8..16].copy_from_slice(&self.number.to_le_bytes());
        out[16..24].copy_from_slice(&self.acknowledged.to_le_bytes());
        out[24..32].copy_from_slice(&self.valid_until_ms.to_le_bytes());
        out[32..36].copy_from_slice(&self.timeout_ms.to_le_bytes());
        out[36] = self.read as u8;
        out[37] = self.durability as u8;
        out
    }

    /// Splits a request's payload into its prelude and its body.
    ///
    /// # Errors
    /// `FrameError::Prelude` when it is too short or an enumeration is out of range.
    pub fn split(payload: &[u8]) -> Result<(Self, &[u8]), FrameError> {
        let (head, body) = payload.split_first_chunk::<{ Self::BYTES }>().ok_or(FrameError::Prelude)?;
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let read = match head[36] {
            0 => ReadLevel::Linearizable,
            1 => ReadLevel::Lease,
            2 => ReadLevel::Stale,
            _ => return Err(FrameError::Prelude),
        };
        let durability = match head[37] {
            0 => Durability::Persistent,
            1 => Durability::Ephemeral,
            _ => return Err(FrameError::Prelude),
        };
        let timeout_ms = u32::from_le_bytes(head[32..36].try_into().expect("four bytes"));
        let prelude = Self {
            session: SessionId(word(0)),
            number: word(8),
            acknowledged: word(16),
            valid_until_ms: word(24),
            timeout_ms,
            read,
            durability,
        };
        Ok((prelude, body))
    }
}
