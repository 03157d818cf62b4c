//! Real keys, locks and sequences, one operation at a time: the source of answers that are right.

use std::collections::BTreeMap;

use kahuna_sim::check::{Action, Conditions, Reply};
use rand::RngExt;
use rand::rngs::SmallRng;

const NANOS_PER_MILLI: u64 = 1_000_000;

#[derive(Default)]
struct Lock {
    owner: Option<String>,
    token: u64,
    until_ns: u64,
}

/// All names, absent and free at first.
#[derive(Default)]
pub struct World {
    highest_floor: u64,
    keys: BTreeMap<String, (Option<String>, u64)>,
    locks: BTreeMap<String, Lock>,
    sequences: BTreeMap<String, i64>,
}

impl World {
    /// Collected tombstones may raise a key's floor up to `highest_floor`; 0 for no collection.
    pub fn new(highest_floor: u64) -> Self {
        Self { highest_floor, ..Self::default() }
    }

    /// Lets the operation take effect now.
    pub fn apply(&mut self, now_ns: u64, name: &str, action: &Action, rng: &mut SmallRng) -> Reply {
        match action {
            Action::Get | Action::Set { .. } | Action::Delete { .. } => self.apply_key(name, action, rng),
            Action::Draw { count, increment } => {
                let last = self.sequences.entry(name.into()).or_default();
                let start = *last + increment;
                *last += increment * i64::try_from(*count).expect("small counts");
                Reply::Drawn { incarnation: 0, start, end: *last }
            }
            _ => self.apply_lock(now_ns, name, action),
        }
    }

    fn apply_key(&mut self, name: &str, action: &Action, rng: &mut SmallRng) -> Reply {
        let (value, revision) = self.keys.entry(name.into()).or_default();
        if value.is_none() && *revision < self.highest_floor && rng.random_ratio(1, 8) {
            *revision += 1;
        }
        match action {
            Action::Set { value: new, conditions } if holds(conditions, value.as_deref(), *revision) => {
                *value = Some(new.clone());
                *revision += 1;
                Reply::Set { revision: Some(*revision) }
            }
            Action::Set { .. } => Reply::NotSet { revision: Some(*revision) },
            Action::Delete { conditions } if value.is_some() => {
                if !holds(conditions, value.as_deref(), *revision) {
                    return Reply::NotSet { revision: Some(*revision) };
                }
                *value = None;
                *revision += 1;
                Reply::Deleted { revision: Some(*revision) }
            }
            _ => match value {
                Some(value) => Reply::Value { value: value.clone(), revision: Some(*revision) },
                None => Reply::NotFound { revision: Some(*revision) },
            },
        }
    }

    fn apply_lock(&mut self, now_ns: u64, name: &str, action: &Action) -> Reply {
        let lock = self.locks.entry(name.into()).or_default();
        if now_ns >= lock.until_ns {
            lock.owner = None;
        }
        let token = lock.token;
        let until_ns = |ttl_ms: Option<u64>| now_ns + ttl_ms.unwrap_or(0) * NANOS_PER_MILLI;
        match (action, lock.owner.clone()) {
            (Action::Acquire { owner, .. }, Some(holder)) if *owner == holder => Reply::Acquired { token },
            (Action::Acquire { .. } | Action::LockInfo, Some(owner)) => Reply::Held { owner, token },
            (Action::Acquire { owner, ttl_ms }, None) => {
                *lock = Lock { owner: Some(owner.clone()), token: token + 1, until_ns: until_ns(*ttl_ms) };
                Reply::Acquired { token: lock.token }
            }
            (Action::Extend { owner, ttl_ms }, Some(holder)) if *owner == holder => {
                lock.until_ns = until_ns(*ttl_ms);
                Reply::Extended { token }
            }
            (Action::Release { owner }, Some(holder)) if *owner == holder => {
                lock.owner = None;
                Reply::Released
            }
            (_, Some(owner)) => Reply::NotOwner { owner, token },
            (_, None) => Reply::NotHeld { token: Some(token) },
        }
    }
}

/// Whether a conditional write applies to a key in this state.
pub fn holds(conditions: &Conditions, value: Option<&str>, revision: u64) -> bool {
    (!conditions.absent || value.is_none())
        && (!conditions.present || value.is_some())
        && conditions.value.as_deref().is_none_or(|asked| value == Some(asked))
        && match conditions.revision {
            None => true,
            Some(0) => value.is_none(),
            Some(asked) => value.is_some() && revision == asked,
        }
}
