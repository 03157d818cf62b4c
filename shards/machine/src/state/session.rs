//! Exactly once: what a client's session was answered.

use kahuna_protocol::Outcome;

/// A client's session in this partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Every number below was answered and its answer received.
    pub acknowledged: u64,
    /// How many recorded answers it has.
    pub answers: u64,
    /// The highest `valid_until` of its commands, Unix milliseconds. Until it and the grace are over a late copy of an
    /// acknowledged command may still come, and must find the mark above.
    pub valid_until_ms: u64,
}

/// A recorded answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of the request's kind and body.
    pub digest: u64,
    /// The request's `valid_until`, Unix milliseconds.
    pub valid_until_ms: u64,
    /// What it came to.
    pub outcome: Outcome,
}

/// What an answer takes beside the bytes in it, in bytes: itself and its places in the tables. Part of what replicas agree
/// on: another value needs another version of the log.
const ANSWER_BYTES: u64 = 320;

impl Answer {
    /// What it counts, in bytes.
    pub fn bytes(&self) -> u64 {
        let inside = match &self.outcome {
            Outcome::Held(held) => held.owner.len(),
            Outcome::NotOwner(not_owner) => not_owner.owner.len(),
            _ => 0,
        };
        ANSWER_BYTES + inside as u64
    }
}
