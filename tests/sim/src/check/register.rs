//! A key as a sequential object: a value and a revision.

use std::collections::HashMap;

use super::frontier::Model;
use super::numbering::NONE;
use super::rising::Rising;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct KeyState {
    /// [`NONE`] while absent.
    pub value: u32,
    pub revision: Rising,
}

/// The conditions of a write, each said once: see [`Guard::new`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Guard {
    pub absent: bool,
    /// Left out where a value or a revision implies it.
    pub present: bool,
    pub value: Option<u32>,
    /// Never 0, which is `absent`.
    pub revision: Option<u64>,
}

impl Guard {
    pub(super) fn new(absent: bool, present: bool, value: Option<u32>, revision: Option<u64>) -> Self {
        let absent = absent || revision == Some(0);
        let revision = revision.filter(|&required| required > 0);
        Self { absent, present: present && value.is_none() && revision.is_none(), value, revision }
    }

    /// Whether this one holds wherever `other` holds.
    fn is_implied_by(&self, other: &Self) -> bool {
        (!self.absent || other.absent)
            && (!self.present || other.present || other.value.is_some() || other.revision.is_some())
            && (self.value.is_none() || self.value == other.value)
            && (self.revision.is_none() || self.revision == other.revision)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum KeyOp {
    /// Writes `value` ([`NONE`]: deletes) where the guard holds. The revision it got, if an answer shows it.
    Write { value: u32, guard: Guard, revision: Option<u64> },
    /// Saw this value ([`NONE`]: absent).
    Saw { value: u32, revision: Option<u64> },
    /// Was refused since the guard does not hold.
    Refused { guard: Guard, revision: Option<u64> },
}

/// What the answers say about one revision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// [`NONE`] for a deletion.
    pub value: u32,
    /// An answered write has it, so that nobody else can.
    pub owned: bool,
}

pub(super) struct Register {
    /// Whether any answer or condition speaks of revisions; else they are not counted.
    pub counted: bool,
    /// Revisions rise by one also from absence.
    pub dense: bool,
    pub claims: HashMap<u64, Claim>,
}

impl Register {
    fn write(&self, state: KeyState, value: u32, guard: &Guard, revision: Option<u64>) -> Option<KeyState> {
        let held = holding(state, guard)?;
        if value == NONE && held.value == NONE {
            return None;
        }
        let next = if self.counted { held.revision.next().seen(revision)? } else { held.revision };
        if self.counted && next.exact {
            match self.claims.get(&next.at) {
                Some(claim) if claim.owned && revision.is_none() => return None,
                Some(claim) if claim.value != value => return None,
                _ => {}
            }
        }
        Some(self.loosen(KeyState { value, revision: next }))
    }

    /// While a key is absent its tombstone may be collected, which leaves a floor that may be higher.
    fn loosen(&self, mut state: KeyState) -> KeyState {
        if state.value == NONE && !self.dense {
            state.revision.exact = false;
        }
        state
    }
}

impl Model for Register {
    type State = KeyState;
    type Op = KeyOp;
    type Shape = u32;

    fn initial(&self) -> KeyState {
        KeyState { value: NONE, revision: Rising { at: 0, exact: false } }
    }

    fn step(&self, state: KeyState, op: &KeyOp, _now_ns: u64) -> Option<KeyState> {
        match op {
            KeyOp::Write { value, guard, revision } => self.write(state, *value, guard, *revision),
            KeyOp::Saw { value, .. } if *value != state.value => None,
            KeyOp::Refused { guard, .. } if certainly_holds(state, guard) => None,
            KeyOp::Saw { revision, .. } => {
                Some(self.loosen(KeyState { revision: state.revision.seen(*revision)?, ..state }))
            }
            KeyOp::Refused { guard, revision } => {
                let seen = KeyState { revision: state.revision.seen(*revision)?, ..state };
                (!certainly_holds(seen, guard)).then(|| self.loosen(seen))
            }
        }
    }

    fn only_looks(&self, op: &KeyOp) -> bool {
        matches!(op, KeyOp::Saw { .. } | KeyOp::Refused { .. })
    }

    fn hopeless(&self, state: KeyState, op: &KeyOp) -> bool {
        let at = state.revision.at;
        match op {
            KeyOp::Write { guard, revision, .. } => {
                revision.is_some_and(|revision| at >= revision) || guard.revision.is_some_and(|required| at > required)
            }
            KeyOp::Saw { revision, .. } | KeyOp::Refused { revision, .. } => {
                revision.is_some_and(|revision| at > revision)
            }
        }
    }

    fn outlasts(&self, a: &KeyOp, b: &KeyOp) -> bool {
        match (a, b) {
            (KeyOp::Write { value, guard, .. }, KeyOp::Write { value: other, guard: narrow, .. }) => {
                value == other && guard != narrow && guard.is_implied_by(narrow)
            }
            _ => false,
        }
    }

    fn shape(&self, state: KeyState) -> u32 {
        state.value
    }

    fn covers(&self, a: KeyState, b: KeyState) -> bool {
        a.revision.covers(b.revision)
    }
}

/// The state with what the guard reveals about it; none where the guard cannot hold.
fn holding(state: KeyState, guard: &Guard) -> Option<KeyState> {
    let present = state.value != NONE;
    if (guard.absent && present) || (guard.present && !present) {
        return None;
    }
    if guard.value.is_some_and(|value| value != state.value) {
        return None;
    }
    match guard.revision {
        None => Some(state),
        Some(_) if !present => None,
        Some(required) => Some(KeyState { revision: state.revision.seen(Some(required))?, ..state }),
    }
}

fn certainly_holds(state: KeyState, guard: &Guard) -> bool {
    let unsure = !state.revision.exact && guard.revision.is_some();
    !unsure && holding(state, guard).is_some()
}
