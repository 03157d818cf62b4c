//! Claim: a lock has one holder at a time, its tokens rise, and it is free again when its lease is over.
//!
//! The history shows order and tokens. What it cannot show is looked at here: until the moment that the client was told to
//! rely on (it counts from when the request was sent, by the client's own clock), no other client is told to rely on the
//! same lock.
//!
//! Each lock guards the key of its name: what holders write there carries their token, and past holders try it too.

use std::time::Duration;

use kahuna_client::Reply;
use kahuna_protocol::{
    Outcome as Answer, ReadLevel,
    key::{Condition, KeySet, LockGuard, NotSet, Unmet},
    lock::{Acquired, LockAcquire, LockExtend, LockInfo, LockRelease},
};
use kahuna_shards::env::Env;

use super::Process;
use crate::{Sim, check::Op, finding::Judge};

const LOCKS: u64 = 3;
/// Leases in milliseconds: some end by themselves while their holder waits for an answer.
const TTL_MS: (u64, u64) = (300, 4_000);
/// How long a holder keeps its lock, in milliseconds.
const HOLD_MS: (u64, u64) = (1, 300);

fn lock(number: u64) -> String {
    format!("lock-{number}")
}

impl Process {
    /// Takes a lock, perhaps extends it, and perhaps leaves its release to time.
    pub(super) async fn lock_step(&mut self) {
        let name = lock(self.rng.below(LOCKS));
        if self.rng.below(6) == 0 {
            return self.info(&name).await;
        }
        if self.rng.below(4) == 0
            && let Some((name, token)) = self.left.take()
        {
            self.write_guarded(&name, token).await;
        }
        let Some(token) = self.acquire(&name).await else { return };
        self.left = Some((name.clone(), token));
        self.hold().await;
        if self.rng.below(2) == 0 {
            self.write_guarded(&name, token).await;
        }
        if self.rng.below(3) == 0 {
            self.extend(&name).await;
            self.hold().await;
        }
        if self.rng.below(5) > 0 && self.release(&name).await {
            self.recorder.fences.borrow_mut().named(&name).released(token, Sim::boot_clock());
        }
    }

    /// Writes the key that a lock guards, with the token of a grant, which may be over.
    async fn write_guarded(&mut self, name: &str, token: u64) {
        self.writes += 1;
        let value = format!("{}-{}", self.number, self.writes).into_bytes();
        let guard = LockGuard { name: name.into(), token };
        let condition = Condition { if_lock: Some(guard), ..Condition::default() };
        let set = KeySet { key: name.into(), value, ttl_ms: None, condition, no_history: false };
        let begun = Sim::boot_clock();
        let answer = self.ask(ReadLevel::Linearizable, &format!("a write under {name}"), set.into()).await;
        let ended = Sim::boot_clock();
        match answer {
            Ok(Answer::Set(done)) => {
                self.recorder.fences.borrow_mut().named(name).applied(token, begun, done.revision);
            }
            Ok(Answer::NotSet(NotSet { why: Unmet::Lock, .. })) => {
                self.recorder.fences.borrow_mut().named(name).refused();
                if self.recorder.reliance.borrow().is_relying(name, self.number, ended) {
                    let text = format!(
                        "process {} relies on {name}, and its write with token {token} is refused",
                        self.number
                    );
                    self.recorder.problem(Judge::Reliance, text);
                }
            }
            Ok(other) => self.recorder.problem(Judge::Protocol, format!("{other:?} in answer to a write under {name}")),
            Err(_) => {}
        }
    }

    pub(super) async fn look_at_locks(&mut self) {
        for number in 0..LOCKS {
            self.info(&lock(number)).await;
        }
    }

    async fn hold(&self) {
        Sim::sleep(Duration::from_millis(self.rng.between(HOLD_MS.0, HOLD_MS.1))).await;
    }

    fn owner(&self) -> String {
        format!("owner-{}", self.number)
    }

    /// The token of the grant, if there is one.
    async fn acquire(&mut self, name: &str) -> Option<u64> {
        let ttl_ms = self.rng.between(TTL_MS.0, TTL_MS.1);
        let mut invoked = self.invocation(Op::LockAcquire, name);
        (invoked.owner, invoked.ttl_ms) = (Some(self.owner()), Some(ttl_ms));
        let request = LockAcquire { name: name.into(), owner: self.owner().into(), ttl_ms, wait_ms: 0 };
        let reply = self.operate(invoked, request.into()).await?;
        let Answer::Acquired(Acquired { token, .. }) = reply.outcome else { return None };
        self.recorder.fences.borrow_mut().named(name).granted(token, Sim::boot_clock());
        self.rely_on(name, &reply);
        Some(token)
    }

    async fn extend(&mut self, name: &str) {
        let ttl_ms = self.rng.between(TTL_MS.0, TTL_MS.1);
        let mut invoked = self.invocation(Op::LockExtend, name);
        (invoked.owner, invoked.ttl_ms) = (Some(self.owner()), Some(ttl_ms));
        // From now on the lease may be the shorter one.
        self.rely_no_more(name);
        let request = LockExtend { name: name.into(), owner: self.owner().into(), ttl_ms };
        let reply = self.operate(invoked, request.into()).await;
        if let Some(reply) = reply.filter(|reply| matches!(reply.outcome, Answer::LockExtended(_))) {
            self.rely_on(name, &reply);
        }
    }

    /// Gives the lock back; whether that is known to be done.
    async fn release(&mut self, name: &str) -> bool {
        let mut invoked = self.invocation(Op::LockRelease, name);
        invoked.owner = Some(self.owner());
        self.rely_no_more(name);
        let request = LockRelease { name: name.into(), owner: self.owner().into() };
        let reply = self.operate(invoked, request.into()).await;
        reply.is_some_and(|reply| matches!(reply.outcome, Answer::Released(_)))
    }

    async fn info(&mut self, name: &str) {
        let invoked = self.invocation(Op::LockInfo, name);
        self.operate(invoked, LockInfo { name: name.into() }.into()).await;
    }

    fn rely_no_more(&self, name: &str) {
        self.recorder.reliance.borrow_mut().ends(name, self.number);
    }

    fn rely_on(&self, name: &str, reply: &Reply) {
        let Some(until) = reply.safe_until else {
            let text = format!("a grant of {name} without a time to rely on it");
            return self.recorder.problem(Judge::Protocol, text);
        };
        let found = self.recorder.reliance.borrow_mut().begins(name, self.number, until, Sim::boot_clock());
        found.into_iter().for_each(|finding| self.recorder.find(finding));
    }
}
