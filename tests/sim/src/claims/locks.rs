//! Claim: a lock has one holder at a time, its tokens rise, and it is free again when its lease is over.
//!
//! The history shows order and tokens. What it cannot show is judged here: while the client library lets one client rely on
//! a lock (counted from the sending of the request, by the client's own clock), it must not let another client rely on the
//! same lock.
//!
//! Each lock guards the key of its name: what holders write there carries their token, and past holders try it too.

use kahuna_client::Reply;
use kahuna_protocol::{
    Outcome as Answer, ReadLevel,
    key::{Condition, KeySet, LockGuard, NotSet, Unmet},
    lock::{Acquired, LockAcquire, LockExtend, LockInfo, LockRelease},
};

use super::{Asks, Process, names::Names};
use crate::finding::Judge;

/// Leases in milliseconds: some end by themselves while their holder waits for an answer.
const TTL_MS: (u64, u64) = (300, 4_000);
/// How long a holder keeps its lock, in milliseconds.
const HOLD_MS: (u64, u64) = (1, 300);

impl<A: Asks> Process<A> {
    /// Takes a lock, perhaps extends it, and perhaps leaves its release to time.
    pub(super) async fn lock_step(&mut self) {
        let name = self.names().lock(self.rng.below(self.habits.locks));
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
        self.pause(HOLD_MS).await;
        if self.rng.below(2) == 0 {
            self.write_guarded(&name, token).await;
        }
        if self.rng.below(3) == 0 {
            self.extend(&name).await;
            self.pause(HOLD_MS).await;
        }
        if self.rng.below(5) > 0 && self.release(&name).await {
            self.recorder.books.fences().named(&name).released(token, self.recorder.now());
        }
    }

    /// Writes the key that a lock guards, with the token of a grant, which may be over.
    async fn write_guarded(&mut self, name: &str, token: u64) {
        self.writes += 1;
        let value = format!("{}-{}", self.number, self.writes).into_bytes();
        let guard = LockGuard { name: name.into(), token };
        let condition = Condition { if_lock: Some(guard), ..Condition::default() };
        let set = KeySet { key: name.into(), value, ttl_ms: None, condition, no_history: false };
        let begun = self.recorder.now();
        let answer = self.ask(ReadLevel::Linearizable, &format!("a write under {name}"), set).await;
        let ended = self.recorder.now();
        match answer {
            Ok(Answer::Set(done)) => {
                self.recorder.books.fences().named(name).applied(token, begun, done.revision);
            }
            Ok(Answer::NotSet(NotSet { why: Unmet::Lock, .. })) => {
                self.recorder.books.fences().named(name).refused();
                if self.recorder.books.reliance().is_relying(name, self.number, ended) {
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

    pub(super) async fn look_at_locks(&mut self, names: &Names) {
        for number in 0..self.habits.locks {
            self.info(&names.lock(number)).await;
        }
    }

    fn owner(&self) -> Vec<u8> {
        format!("owner-{}", self.number).into_bytes()
    }

    /// The token of the grant, if there is one.
    async fn acquire(&mut self, name: &str) -> Option<u64> {
        let ttl_ms = self.rng.between(TTL_MS.0, TTL_MS.1);
        let reply = self.operate(LockAcquire { name: name.into(), owner: self.owner(), ttl_ms, wait_ms: 0 }).await?;
        let Answer::Acquired(Acquired { token, .. }) = reply.outcome else { return None };
        self.recorder.books.fences().named(name).granted(token, self.recorder.now());
        self.rely_on(name, &reply);
        Some(token)
    }

    async fn extend(&mut self, name: &str) {
        let ttl_ms = self.rng.between(TTL_MS.0, TTL_MS.1);
        // From now on the lease may be the shorter one.
        self.rely_no_more(name);
        let reply = self.operate(LockExtend { name: name.into(), owner: self.owner(), ttl_ms }).await;
        if let Some(reply) = reply.filter(|reply| matches!(reply.outcome, Answer::LockExtended(_))) {
            self.rely_on(name, &reply);
        }
    }

    /// Gives the lock back; whether that is known to be done.
    async fn release(&mut self, name: &str) -> bool {
        self.rely_no_more(name);
        let reply = self.operate(LockRelease { name: name.into(), owner: self.owner() }).await;
        reply.is_some_and(|reply| matches!(reply.outcome, Answer::Released(_)))
    }

    async fn info(&mut self, name: &str) {
        self.operate(LockInfo { name: name.into() }).await;
    }

    fn rely_no_more(&self, name: &str) {
        self.recorder.books.reliance().ends(name, self.number);
    }

    fn rely_on(&self, name: &str, reply: &Reply) {
        match reply.safe_until {
            Some(until) => self.recorder.rely_on(name, self.number, until),
            None => self.recorder.problem(Judge::Protocol, format!("a grant of {name} without a time to rely on it")),
        }
    }
}
