//! Claim: a lock has one holder at a time, its tokens rise, and it is free again when its lease is over.
//!
//! The history shows order and tokens. What it cannot show is looked at here: until the moment that the client was told to
//! rely on, no other client is told to rely on the same lock.

use std::time::Instant;

use kahuna_client::call::{AcquireAnswer, LockExtendAnswer, SafeDeadline};
use kahuna_protocol::lock::{LockAcquire, LockExtend, LockInfo, LockRelease};

use super::{
    Worker,
    names::{LOCKS, Names},
};
use crate::check::Op;

/// Leases in milliseconds: some end by themselves while their holder waits for an answer.
const TTL_MS: (u64, u64) = (300, 4_000);
/// How long a holder keeps its lock, in milliseconds.
const HOLD_MS: (u64, u64) = (1, 250);

impl Worker {
    /// Takes a lock, perhaps extends it, and perhaps leaves its release to time.
    pub(super) fn lock_step(&mut self) {
        let name = self.names().lock(self.rng.below(LOCKS));
        if self.rng.below(6) == 0 {
            return self.info(&name);
        }
        if !self.acquire(&name) {
            return;
        }
        self.pause(HOLD_MS);
        if self.rng.below(3) == 0 {
            self.extend(&name);
            self.pause(HOLD_MS);
        }
        if self.rng.below(5) > 0 {
            self.release(&name);
        }
    }

    pub(super) fn look_at_locks(&mut self, names: Names) {
        for number in 0..LOCKS {
            self.info(&names.lock(number));
        }
    }

    fn owner(&self) -> String {
        format!("owner-{}", self.number)
    }

    fn acquire(&mut self, name: &str) -> bool {
        let ttl_ms = self.rng.between(TTL_MS.0, TTL_MS.1);
        let mut invoked = self.invocation(Op::LockAcquire, name);
        (invoked.owner, invoked.ttl_ms) = (Some(self.owner()), Some(ttl_ms));
        let request = LockAcquire { name: name.into(), owner: self.owner().into(), ttl_ms, wait_ms: 0 };
        let Some(AcquireAnswer::Acquired(grant)) = self.operate(&invoked, request) else { return false };
        self.rely_on(name, grant.safe);
        true
    }

    fn extend(&mut self, name: &str) {
        let ttl_ms = self.rng.between(TTL_MS.0, TTL_MS.1);
        let mut invoked = self.invocation(Op::LockExtend, name);
        (invoked.owner, invoked.ttl_ms) = (Some(self.owner()), Some(ttl_ms));
        // From now on the lease may be the shorter one.
        self.setting.recorder.rely_no_more(name, self.number);
        let request = LockExtend { name: name.into(), owner: self.owner().into(), ttl_ms };
        if let Some(LockExtendAnswer::Extended(grant)) = self.operate(&invoked, request) {
            self.rely_on(name, grant.safe);
        }
    }

    fn release(&mut self, name: &str) {
        let mut invoked = self.invocation(Op::LockRelease, name);
        invoked.owner = Some(self.owner());
        self.setting.recorder.rely_no_more(name, self.number);
        self.operate(&invoked, LockRelease { name: name.into(), owner: self.owner().into() });
    }

    fn info(&mut self, name: &str) {
        let invoked = self.invocation(Op::LockInfo, name);
        self.operate(&invoked, LockInfo { name: name.into() });
    }

    fn rely_on(&self, name: &str, safe: SafeDeadline) {
        // In this order: what remains is looked at later than the clock, so that the sum is not above the deadline.
        let now = Instant::now();
        self.setting.recorder.rely_on(name, self.number, now + safe.remaining());
    }
}
