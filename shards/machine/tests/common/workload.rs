//! Random commands over a few names, so that they meet.

use kahuna_protocol::key::{Condition, KeyDelete, KeyExtend, KeyPersist, KeySet, LockGuard};
use kahuna_protocol::meta::Tick;
use kahuna_protocol::{Request, RequestPrelude, SessionId};

use super::*;

const NAMES: [&str; 6] = ["a/1", "a/2", "a/3", "b/1", "b", "c/x/y"];
const OWNERS: [&str; 3] = ["ann", "bob", "eve"];

/// A source of commands, each with its session.
#[derive(Clone)]
pub struct Workload {
    pub choices: Choices,
    numbers: [u64; 4],
}

impl Workload {
    pub fn new(seed: u64) -> Self {
        Self { choices: Choices(seed), numbers: [0; 4] }
    }

    pub fn name(&mut self) -> &'static str {
        NAMES[self.choices.below(NAMES.len() as u64) as usize]
    }

    fn ttl_ms(&mut self) -> u64 {
        1 + self.choices.below(3_000)
    }

    fn condition(&mut self, name: &str) -> Condition {
        let mut condition = Condition::default();
        match self.choices.below(9) {
            0 => condition.absent = true,
            1 => condition.present = true,
            2 => condition.value = Some(vec![b'0' + self.choices.below(10) as u8]),
            3 => condition.revision = Some(self.choices.below(12)),
            4 => condition.if_lock = Some(LockGuard { name: name.into(), token: 1 + self.choices.below(6) }),
            _ => {}
        }
        condition
    }

    pub fn request(&mut self) -> Request {
        let name = self.name();
        let owner = OWNERS[self.choices.below(3) as usize];
        match self.choices.below(16) {
            0..=3 => KeySet {
                key: name.into(),
                value: vec![b'0' + self.choices.below(10) as u8],
                ttl_ms: self.choices.one_in(3).then(|| self.ttl_ms()),
                condition: self.condition(name),
                no_history: self.choices.one_in(8),
            }
            .into(),
            4 => KeyDelete { key: name.into(), condition: self.condition(name) }.into(),
            5 => KeyExtend { key: name.into(), ttl_ms: self.ttl_ms() }.into(),
            6 => KeyPersist { key: name.into() }.into(),
            7 | 8 => acquire(name, owner, self.ttl_ms()).into(),
            9 => extend_lock(name, owner, self.ttl_ms()).into(),
            10 => release(name, owner).into(),
            11 => create(name, self.choices.below(5) as i64, 1 + self.choices.below(3) as i64, Some(40)).into(),
            12 => next(name).into(),
            13 => reserve(name, 1 + self.choices.below(4), ["", "k1", "k2"][self.choices.below(3) as usize]).into(),
            14 if self.choices.one_in(3) => delete_sequence(name).into(),
            _ => Tick { to: 0 }.into(),
        }
    }

    /// A session's identity for the next command; mostly a new number, now and then an old one.
    pub fn prelude(&mut self, clock_ms: u64) -> RequestPrelude {
        let session = self.choices.below(4);
        if session == 0 {
            return RequestPrelude::default();
        }
        let last = &mut self.numbers[session as usize];
        let number = if self.choices.one_in(6) {
            self.choices.below(*last + 1).max(1)
        } else {
            *last += 1;
            *last
        };
        // Now and then its own number as well: then the session stands without an answer.
        let acknowledged = if self.choices.one_in(3) { (number + 1).saturating_sub(self.choices.below(5)) } else { 0 };
        // Coarse, so that a soon repeat carries the same one, as a client's would.
        let valid_until_ms = clock_ms / 10_000 * 10_000 + 20_000;
        RequestPrelude {
            session: SessionId(session),
            number,
            acknowledged,
            valid_until_ms,
            ..RequestPrelude::default()
        }
    }

    /// How far the clock moves before the next batch.
    pub fn step_ms(&mut self) -> u64 {
        match self.choices.below(40) {
            0 => 700_000,
            1 | 2 => 20_000,
            3..=9 => 1_500,
            _ => self.choices.below(50),
        }
    }
}
