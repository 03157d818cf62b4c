//! Claim: every key is a linearizable register with a revision, whatever conditions writes have.

use std::time::Duration;

use kahuna_protocol::{
    Outcome as Answer, ReadLevel, Request,
    key::{Condition, KeyDelete, KeyGet, KeySet},
};
use kahuna_shards::env::Env;

use super::Process;
use crate::{
    Sim, SimRng,
    check::{Datum, Op},
};

const KEYS: u64 = 8;
/// Of so many steps one is done together with others, see [`Process::meet`].
const MEET_ONE_IN: u64 = 2;
/// Of so many writes one is large: logs and snapshots grow by it.
const LARGE_ONE_IN: u64 = 12;
/// Bytes that a large value has more.
const LARGE_BYTES: u64 = 3_000;

fn key(number: u64) -> String {
    format!("key-{number}")
}

/// The name of some key.
pub(super) fn draw_key(rng: &SimRng) -> String {
    key(rng.below(KEYS))
}

/// What a conditional write asks for.
#[derive(Debug, Default)]
struct Wish {
    absent: bool,
    present: bool,
    value: Option<String>,
    revision: Option<u64>,
}

impl Wish {
    fn is_none(&self) -> bool {
        !self.absent && !self.present && self.value.is_none() && self.revision.is_none()
    }

    fn condition(&self) -> Condition {
        Condition {
            absent: self.absent,
            present: self.present,
            value: self.value.clone().map(String::into_bytes),
            revision: self.revision,
            if_lock: None,
        }
    }
}

impl Process {
    pub(super) async fn register_step(&mut self) {
        let key = if self.rng.below(MEET_ONE_IN) == 0 { self.meet().await } else { draw_key(&self.rng) };
        match self.rng.below(10) {
            0..4 => self.get(&key).await,
            4..7 => self.set(&key, Wish::default()).await,
            7 => {
                let (key, wish) = self.draw_wish(key);
                self.set(&key, wish).await;
            }
            8 => {
                let (key, wish) = self.draw_wish(key);
                self.delete(&key, wish).await;
            }
            _ => self.delete(&key, Wish::default()).await,
        }
    }

    /// Waits for the next moment at which all who meet begin at once, and says which key they meet at. On fast disks hardly
    /// any operations overlap by chance.
    async fn meet(&self) -> String {
        let now = Sim::boot_clock();
        let apart = Duration::from_millis(self.think_ms);
        let next = now.as_nanos() / apart.as_nanos() + 1;
        Sim::sleep(apart * u32::try_from(next).expect("a run is short") - now).await;
        key(next as u64 % KEYS)
    }

    pub(super) async fn read_registers(&mut self) {
        for number in 0..KEYS {
            self.get(&key(number)).await;
        }
    }

    /// A condition, most often on what was read last, and the key that it is about.
    fn draw_wish(&mut self, key: String) -> (String, Wish) {
        match (self.rng.below(4), self.seen.take()) {
            (0, _) => (key, Wish { absent: true, ..Wish::default() }),
            (1, _) => (key, Wish { present: true, ..Wish::default() }),
            (2, Some((key, Some(value), _))) => (key, Wish { value: Some(value), ..Wish::default() }),
            (_, Some((key, value, revision))) => {
                // An absent key has the revision 0 in a condition.
                let revision = if value.is_some() { revision } else { 0 };
                (key, Wish { revision: Some(revision), ..Wish::default() })
            }
            (_, None) => (key, Wish { revision: Some(0), ..Wish::default() }),
        }
    }

    async fn get(&mut self, key: &str) {
        let invoked = self.invocation(Op::Get, key);
        let request = KeyGet { key: key.into(), revision: None, as_of: None };
        // Clocks run at one rate here: a lease is as good as a majority.
        let level = if self.rng.below(4) == 0 { ReadLevel::Lease } else { ReadLevel::Linearizable };
        self.seen = match self.operate_at(level, invoked, request.into()).await.map(|reply| reply.outcome) {
            Some(Answer::Value(value)) => {
                let text = String::from_utf8_lossy(&value.value).into_owned();
                self.recorder.revisions.borrow_mut().see(key, value.revision, Some(&text), Some(value.modified));
                Some((key.into(), Some(text), value.revision))
            }
            Some(Answer::NotFound(absent)) => Some((key.into(), None, absent.revision)),
            _ => None,
        };
    }

    async fn set(&mut self, key: &str, wish: Wish) {
        self.writes += 1;
        let mut value = format!("{}-{}", self.number, self.writes);
        if self.rng.below(LARGE_ONE_IN) == 0 {
            value.extend(std::iter::repeat_n('.', LARGE_BYTES as usize));
        }
        let mut invoked = self.invocation(if wish.is_none() { Op::Set } else { Op::Cas }, key);
        invoked.value = Some(Datum::Text(value.clone()));
        let condition = wish.condition();
        (invoked.if_absent, invoked.if_present) = (wish.absent, wish.present);
        (invoked.if_value, invoked.if_revision) = (wish.value, wish.revision);
        let set = KeySet { key: key.into(), value: value.clone().into(), ttl_ms: None, condition, no_history: false };
        let reply = self.operate(invoked, Request::from(set)).await;
        if let Some(Answer::Set(done)) = reply.map(|reply| reply.outcome) {
            self.recorder.revisions.borrow_mut().see(key, done.revision, Some(&value), None);
        }
    }

    async fn delete(&mut self, key: &str, wish: Wish) {
        let mut invoked = self.invocation(Op::Delete, key);
        let condition = wish.condition();
        (invoked.if_absent, invoked.if_present) = (wish.absent, wish.present);
        (invoked.if_value, invoked.if_revision) = (wish.value, wish.revision);
        let reply = self.operate(invoked, KeyDelete { key: key.into(), condition }.into()).await;
        if let Some(Answer::Deleted(done)) = reply.map(|reply| reply.outcome) {
            self.recorder.revisions.borrow_mut().see(key, done.revision, None, None);
        }
    }
}
