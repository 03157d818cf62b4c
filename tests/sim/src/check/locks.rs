//! A lock as a sequential object: a holder, the newest token, and the instant before which the lease cannot end.

use super::breach::Breach;
use super::frontier::Model;
use super::history::{Action, Ending, Operation, Reply};
use super::numbering::{NONE, Numbering};
use super::rising::Rising;
use super::search::Entry;

const NANOS_PER_MILLI: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LockState {
    /// [`NONE`] while free.
    pub owner: u32,
    /// While free, the next grant is above it.
    pub token: Rising,
    /// The lease does not end by itself before this instant.
    pub holds_until_ns: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum LockOp {
    /// `token` is none where nobody knows the answer.
    Acquire {
        owner: u32,
        token: Option<u64>,
        holds_until_ns: u64,
    },
    Extend {
        owner: u32,
        token: Option<u64>,
        holds_until_ns: u64,
    },
    Release {
        owner: u32,
    },
    /// Was told that this owner ([`NONE`]: nobody) holds it.
    Saw {
        owner: u32,
        token: Option<u64>,
    },
}

pub(super) struct Lock;

impl Lock {
    fn grant(state: LockState, owner: u32, token: Option<u64>, holds_until_ns: u64) -> Option<LockState> {
        match token {
            Some(at) if at <= state.token.at => None,
            Some(at) => Some(LockState { owner, token: Rising { at, exact: true }, holds_until_ns }),
            // Nobody may be there to extend or keep it: it may end at any time.
            None => {
                let token = Rising { at: state.token.at.saturating_add(1), exact: false };
                Some(LockState { owner, token, holds_until_ns: 0 })
            }
        }
    }
}

impl Model for Lock {
    type State = LockState;
    type Op = LockOp;
    type Shape = u32;

    fn initial(&self) -> LockState {
        LockState { owner: NONE, token: Rising { at: 0, exact: false }, holds_until_ns: 0 }
    }

    fn step(&self, state: LockState, op: &LockOp, now_ns: u64) -> Option<LockState> {
        let free = state.owner == NONE || now_ns >= state.holds_until_ns;
        match *op {
            LockOp::Acquire { owner, token, holds_until_ns } if owner == state.owner => {
                // A repeat changes nothing; with a higher token it is a new grant after the old one ended.
                match (token, state.token.seen(token)) {
                    (None, _) if free && state.token.exact => Self::grant(state, owner, None, holds_until_ns),
                    // A repeat, or a grant that reveals no more than the last one.
                    (None, _) => None,
                    (Some(_), Some(seen)) => Some(LockState { token: seen, ..state }),
                    (Some(_), None) if free => Self::grant(state, owner, token, holds_until_ns),
                    (Some(_), None) => None,
                }
            }
            LockOp::Acquire { owner, token, holds_until_ns } if free => {
                Self::grant(state, owner, token, holds_until_ns)
            }
            LockOp::Acquire { .. } => None,
            LockOp::Extend { owner, .. } | LockOp::Release { owner } if owner != state.owner => None,
            LockOp::Extend { token: None, holds_until_ns, .. } => {
                (holds_until_ns < state.holds_until_ns).then_some(LockState { holds_until_ns, ..state })
            }
            LockOp::Extend { token, holds_until_ns, .. } => {
                Some(LockState { token: state.token.seen(token)?, holds_until_ns, ..state })
            }
            LockOp::Release { .. } => Some(freed(state)),
            LockOp::Saw { owner: NONE, token } if free => {
                let freed = freed(state);
                match token {
                    None => Some(freed),
                    Some(at) if at < freed.token.at => None,
                    Some(at) => Some(LockState { token: Rising { at, exact: false }, ..freed }),
                }
            }
            LockOp::Saw { owner, token } => {
                let seen = state.token.seen(token)?;
                (owner == state.owner).then_some(LockState { token: seen, ..state })
            }
        }
    }

    fn only_looks(&self, op: &LockOp) -> bool {
        matches!(op, LockOp::Saw { .. })
    }

    fn hopeless(&self, state: LockState, op: &LockOp) -> bool {
        match *op {
            LockOp::Acquire { token, .. } | LockOp::Extend { token, .. } | LockOp::Saw { token, .. } => {
                token.is_some_and(|token| token < state.token.at)
            }
            LockOp::Release { .. } => false,
        }
    }

    fn shape(&self, state: LockState) -> u32 {
        state.owner
    }

    fn covers(&self, a: LockState, b: LockState) -> bool {
        a.token.covers(b.token) && a.holds_until_ns <= b.holds_until_ns
    }
}

fn freed(state: LockState) -> LockState {
    LockState { owner: NONE, token: Rising { exact: false, ..state.token }, holds_until_ns: 0 }
}

/// A lock's operations made ready for the search, the operation of each entry, and the owners' names.
pub(super) type Prepared = (Vec<Entry<LockOp>>, Vec<usize>, Numbering);

/// Makes a lock's operations ready for the search.
///
/// # Errors
/// Somebody was refused on account of itself.
pub(super) fn prepare(operations: &[&Operation]) -> Result<Prepared, Breach> {
    let mut owners = Numbering::default();
    for operation in operations {
        let Ending::Ok { reply, .. } = &operation.ending else {
            continue;
        };
        let holder = match reply {
            Reply::Held { owner, .. } | Reply::NotOwner { owner, .. } => Some(owner),
            _ => None,
        };
        let asker = match &operation.action {
            Action::Acquire { owner, .. } | Action::Extend { owner, .. } | Action::Release { owner } => Some(owner),
            _ => None,
        };
        if holder.is_some() && holder == asker {
            let text = format!("an owner was refused on account of itself (line {})", operation.end_line);
            return Err(Breach { lines: vec![operation.end_line], text });
        }
        for owner in holder.into_iter().chain(asker) {
            owners.mention(owner);
        }
    }
    let mut entries = Vec::new();
    let mut sources = Vec::new();
    for (source, operation) in operations.iter().enumerate() {
        if let Some(entry) = entry_of(operation, &owners) {
            entries.push(entry);
            sources.push(source);
        }
    }
    Ok((entries, sources, owners))
}

fn entry_of(operation: &Operation, owners: &Numbering) -> Option<Entry<LockOp>> {
    let holds_until_ns = match &operation.action {
        Action::Acquire { ttl_ms, .. } | Action::Extend { ttl_ms, .. } => {
            let ttl_ns = ttl_ms.unwrap_or(0).saturating_mul(NANOS_PER_MILLI);
            if ttl_ns == 0 { 0 } else { operation.invoked_ns.saturating_add(ttl_ns) }
        }
        _ => 0,
    };
    let (returned_ns, saw) = match &operation.ending {
        Ending::Fail => return None,
        Ending::Unknown => (None, None),
        Ending::Ok { at_ns, reply } => {
            let saw = match reply {
                Reply::Held { owner, token } | Reply::NotOwner { owner, token } => {
                    Some(LockOp::Saw { owner: owners.of(owner), token: Some(*token) })
                }
                Reply::NotHeld { token } => Some(LockOp::Saw { owner: NONE, token: *token }),
                _ => None,
            };
            (Some(*at_ns), saw)
        }
    };
    let token = match &operation.ending {
        Ending::Ok { reply: Reply::Acquired { token } | Reply::Extended { token }, .. } => Some(*token),
        _ => None,
    };
    let asked = match &operation.action {
        Action::Acquire { owner, .. } => {
            // Equal in all that matters to the search when nobody knows the answer.
            let holds_until_ns = if returned_ns.is_some() { holds_until_ns } else { 0 };
            Some(LockOp::Acquire { owner: owners.of(owner), token, holds_until_ns })
        }
        Action::Extend { owner, .. } => Some(LockOp::Extend { owner: owners.of(owner), token, holds_until_ns }),
        Action::Release { owner } => Some(LockOp::Release { owner: owners.of(owner) }),
        _ => None,
    };
    Some(Entry { op: saw.or(asked)?, invoked_ns: operation.invoked_ns, returned_ns })
}
