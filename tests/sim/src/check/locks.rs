//! A lock as a sequential object: a holder, the newest token, and the lease.

use super::breach::Breach;
use super::frontier::Model;
use super::history::{Action, Ending, Operation, Reply};
use super::numbering::{NONE, Numbering};
use super::rising::Rising;
use super::search::Entry;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// A lease as the asker knows it: it does not end by itself before `asked_ns + lasts_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    pub asked_ns: u64,
    pub lasts_ns: u64,
}

impl Lease {
    const OVER: Self = Self { asked_ns: 0, lasts_ns: 0 };

    fn may_be_over(self, now_ns: u64) -> bool {
        now_ns >= self.asked_ns.saturating_add(self.lasts_ns)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LockState {
    /// [`NONE`] while free.
    pub owner: u32,
    /// While free, the next grant is above it.
    pub token: Rising,
    pub lease: Lease,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum LockOp {
    /// `token` is none where nobody knows the answer.
    Acquire {
        owner: u32,
        token: Option<u64>,
        lease: Lease,
    },
    Extend {
        owner: u32,
        token: u64,
        lease: Lease,
    },
    Release {
        owner: u32,
    },
    /// An extend or a release (to nothing) of unknown outcome. Later than the lease began, it cannot leave less than
    /// this of it.
    Shorten {
        owner: u32,
        lasts_ns: u64,
    },
    /// Was told that this owner ([`NONE`]: nobody) holds it.
    Saw {
        owner: u32,
        token: Option<u64>,
    },
}

pub(super) struct Lock;

fn grant(state: LockState, owner: u32, token: Option<u64>, lease: Lease) -> Option<LockState> {
    match token {
        Some(at) if at <= state.token.at => None,
        Some(at) => Some(LockState { owner, token: Rising { at, exact: true }, lease }),
        // Nobody may be there to keep it, and what is never delivered may be released at once.
        None => {
            let token = Rising { at: state.token.at.saturating_add(1), exact: false };
            Some(LockState { owner, token, lease: Lease::OVER })
        }
    }
}

impl Model for Lock {
    type State = LockState;
    type Op = LockOp;
    type Shape = u32;

    fn initial(&self) -> LockState {
        LockState { owner: NONE, token: Rising { at: 0, exact: false }, lease: Lease::OVER }
    }

    fn step(&self, state: LockState, op: &LockOp, now_ns: u64) -> Option<LockState> {
        let free = state.owner == NONE || state.lease.may_be_over(now_ns);
        match *op {
            LockOp::Acquire { owner, token, lease } if owner == state.owner => {
                match (token, state.token.seen(token)) {
                    (None, _) if free && state.token.exact => grant(state, owner, None, lease),
                    // A repeat, or a grant that reveals no more than the last one.
                    (None, _) => None,
                    (Some(_), Some(seen)) => Some(LockState { token: seen, ..state }),
                    (Some(_), None) if free => grant(state, owner, token, lease),
                    (Some(_), None) => None,
                }
            }
            LockOp::Acquire { owner, token, lease } if free => grant(state, owner, token, lease),
            LockOp::Acquire { .. } => None,
            LockOp::Extend { owner, .. } | LockOp::Release { owner } | LockOp::Shorten { owner, .. }
                if owner != state.owner =>
            {
                None
            }
            LockOp::Extend { token, lease, .. } => {
                Some(LockState { token: state.token.seen(Some(token))?, lease, ..state })
            }
            LockOp::Release { .. } => Some(freed(state)),
            LockOp::Shorten { lasts_ns, .. } => {
                let lease = Lease { lasts_ns, ..state.lease };
                (!free && lasts_ns < state.lease.lasts_ns).then_some(LockState { lease, ..state })
            }
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
            LockOp::Extend { token, .. } => token < state.token.at,
            LockOp::Acquire { token, .. } | LockOp::Saw { token, .. } => {
                token.is_some_and(|token| token < state.token.at)
            }
            LockOp::Release { .. } | LockOp::Shorten { .. } => false,
        }
    }

    fn outlasts(&self, _: &LockOp, _: &LockOp) -> bool {
        false
    }

    fn shape(&self, state: LockState) -> u32 {
        state.owner
    }

    fn covers(&self, a: LockState, b: LockState) -> bool {
        a.token.covers(b.token) && a.lease.asked_ns <= b.lease.asked_ns && a.lease.lasts_ns <= b.lease.lasts_ns
    }
}

fn freed(state: LockState) -> LockState {
    LockState { owner: NONE, token: Rising { exact: false, ..state.token }, lease: Lease::OVER }
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
    let (op, returned_ns) = match &operation.ending {
        Ending::Fail => return None,
        Ending::Unknown => (unknown(&operation.action, owners)?, None),
        Ending::Ok { at_ns, reply } => (answered(operation, reply, owners)?, Some(*at_ns)),
    };
    Some(Entry { op, invoked_ns: operation.invoked_ns, returned_ns })
}

fn lasts_ns(ttl_ms: Option<u64>) -> u64 {
    ttl_ms.unwrap_or(0).saturating_mul(NANOS_PER_MILLI)
}

fn answered(operation: &Operation, reply: &Reply, owners: &Numbering) -> Option<LockOp> {
    let lease = |ttl_ms: &Option<u64>| match lasts_ns(*ttl_ms) {
        0 => Lease::OVER,
        lasts_ns => Lease { asked_ns: operation.invoked_ns, lasts_ns },
    };
    Some(match (reply, &operation.action) {
        (Reply::Held { owner, token } | Reply::NotOwner { owner, token }, _) => {
            LockOp::Saw { owner: owners.of(owner), token: Some(*token) }
        }
        (Reply::NotHeld { token }, _) => LockOp::Saw { owner: NONE, token: *token },
        (Reply::Acquired { token }, Action::Acquire { owner, ttl_ms }) => {
            LockOp::Acquire { owner: owners.of(owner), token: Some(*token), lease: lease(ttl_ms) }
        }
        (Reply::Extended { token }, Action::Extend { owner, ttl_ms }) => {
            LockOp::Extend { owner: owners.of(owner), token: *token, lease: lease(ttl_ms) }
        }
        (Reply::Released, Action::Release { owner }) => LockOp::Release { owner: owners.of(owner) },
        _ => return None,
    })
}

/// Equal operations of unknown outcome are to be equal here, whenever they were asked for.
fn unknown(action: &Action, owners: &Numbering) -> Option<LockOp> {
    Some(match action {
        Action::Acquire { owner, .. } => LockOp::Acquire { owner: owners.of(owner), token: None, lease: Lease::OVER },
        Action::Extend { owner, ttl_ms } => LockOp::Shorten { owner: owners.of(owner), lasts_ns: lasts_ns(*ttl_ms) },
        Action::Release { owner } => LockOp::Shorten { owner: owners.of(owner), lasts_ns: 0 },
        _ => return None,
    })
}
