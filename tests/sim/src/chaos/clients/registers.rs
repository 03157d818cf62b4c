//! Claim: every key is a linearizable register with a revision, whatever conditions writes have.

use kahuna_client::call::GetAnswer;
use kahuna_protocol::{
    ReadLevel,
    key::{Condition, KeyDelete, KeyGet, KeySet},
};

use super::{
    Worker,
    names::{KEYS, Names},
};
use crate::check::{Datum, Op};

/// Of so many writes one is large: logs and snapshots grow by it.
const LARGE_ONE_IN: u64 = 10;
/// Bytes that a large value has more.
const LARGE_BYTES: usize = 12_000;

/// What a conditional write asks for.
fn is_none(wish: &Condition) -> bool {
    *wish == Condition::default()
}

impl Worker {
    pub(super) fn register_step(&mut self) {
        let key = self.names().key(self.rng.below(KEYS));
        match self.rng.below(10) {
            0..4 => self.get(&key),
            4..7 => self.set(&key, Condition::default()),
            7 => {
                let (key, wish) = self.draw_wish(key);
                self.set(&key, wish);
            }
            8 => {
                let (key, wish) = self.draw_wish(key);
                self.delete(&key, wish);
            }
            _ => self.delete(&key, Condition::default()),
        }
    }

    pub(super) fn read_registers(&mut self, names: Names) {
        for number in 0..KEYS {
            self.get(&names.key(number));
        }
    }

    /// A condition, most often on what was read last, and the key that it is about.
    fn draw_wish(&mut self, key: String) -> (String, Condition) {
        match (self.rng.below(4), self.seen.take()) {
            (0, _) => (key, Condition { absent: true, ..Condition::default() }),
            (1, _) => (key, Condition { present: true, ..Condition::default() }),
            (2, Some((key, Some(value), _))) => {
                (key, Condition { value: Some(value.into_bytes()), ..Condition::default() })
            }
            (_, Some((key, value, revision))) => {
                // An absent key has the revision 0 in a condition.
                let revision = if value.is_some() { revision } else { 0 };
                (key, Condition { revision: Some(revision), ..Condition::default() })
            }
            (_, None) => (key, Condition { revision: Some(0), ..Condition::default() }),
        }
    }

    fn get(&mut self, key: &str) {
        let invoked = self.invocation(Op::Get, key);
        let request = KeyGet { key: key.into(), revision: None, as_of: None };
        // One machine, so that clocks run at one rate: a lease is as good as a majority.
        let level = if self.rng.below(4) == 0 { ReadLevel::Lease } else { ReadLevel::Linearizable };
        self.seen = match self.operate_at(level, &invoked, request) {
            Some(GetAnswer::Value(value)) => {
                let text = String::from_utf8_lossy(&value.value).into_owned();
                Some((key.into(), Some(text), value.revision))
            }
            Some(GetAnswer::NotFound(absent)) => Some((key.into(), None, absent.revision)),
            _ => None,
        };
    }

    fn set(&mut self, key: &str, condition: Condition) {
        self.writes += 1;
        let mut value = format!("{}-{}", self.number, self.writes);
        if self.rng.below(LARGE_ONE_IN) == 0 {
            value.extend(std::iter::repeat_n('.', LARGE_BYTES));
        }
        let mut invoked = self.invocation(if is_none(&condition) { Op::Set } else { Op::Cas }, key);
        invoked.value = Some(Datum::Text(value.clone()));
        note(&mut invoked, &condition);
        let set = KeySet { key: key.into(), value: value.into(), ttl_ms: None, condition, no_history: false };
        self.operate(&invoked, set);
    }

    fn delete(&mut self, key: &str, condition: Condition) {
        let mut invoked = self.invocation(Op::Delete, key);
        note(&mut invoked, &condition);
        self.operate(&invoked, KeyDelete { key: key.into(), condition });
    }
}

/// Says a condition in the history's words.
fn note(invoked: &mut crate::check::Event, condition: &Condition) {
    (invoked.if_absent, invoked.if_present) = (condition.absent, condition.present);
    invoked.if_value = condition.value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
    invoked.if_revision = condition.revision;
}
