//! Releasing old segments, oldest first.
//!
//! ```text
//! decide      everything needed below `oldest` is gone or repeated behind it (in the queue)
//! in line     all that was queued at the decision is durable
//! claim       a durable batch header names `oldest`: recovery will not look below it
//! free        the files below it are reused or removed
//! ```
//!
//! Each step waits for the one before: a crash between any two leaves files that recovery either needs or ignores.

/// How far the release has come. `freed <= claimed <= may_claim <= decided`.
#[derive(Debug)]
pub struct Release {
    /// Nothing below is needed once the batch `decided_at` is durable.
    decided: u64,
    decided_at: u64,
    /// What the next batch header claims as the oldest needed segment.
    may_claim: u64,
    /// What a durable header claims.
    claimed: u64,
    /// Files below are gone.
    freed: u64,
}

impl Release {
    /// At opening: recovery found `oldest` claimed.
    pub fn new(oldest: u64) -> Self {
        Self { decided: oldest, decided_at: 0, may_claim: oldest, claimed: oldest, freed: oldest }
    }

    /// Everything below was decided to go.
    pub fn decided(&self) -> u64 {
        self.decided
    }

    /// Decides that all below `oldest` goes once the batch `at` is durable, of which those up to `durable` are.
    pub fn decide(&mut self, oldest: u64, at: u64, durable: u64) {
        self.decided = oldest;
        self.decided_at = at;
        if durable >= at {
            self.may_claim = oldest;
        }
    }

    /// What the next batch header claims.
    pub fn may_claim(&self) -> u64 {
        self.may_claim
    }

    /// The oldest segment that a recovery would need now.
    pub fn claimed(&self) -> u64 {
        self.claimed
    }

    /// A header should be written to bring the release forward.
    pub fn wants_claim(&self) -> bool {
        self.claimed < self.may_claim
    }

    /// Batch `sequence`, which claimed `oldest`, is durable.
    pub fn on_durable(&mut self, sequence: u64, oldest: u64) {
        self.claimed = self.claimed.max(oldest);
        if sequence >= self.decided_at {
            self.may_claim = self.decided;
        }
    }

    /// Takes the segments whose files may go now.
    pub fn take_free(&mut self) -> std::ops::Range<u64> {
        let free = self.freed..self.claimed;
        self.freed = self.claimed;
        free
    }

    /// Whether [`Release::take_free`] would give any.
    pub fn has_free(&self) -> bool {
        self.freed < self.claimed
    }
}
