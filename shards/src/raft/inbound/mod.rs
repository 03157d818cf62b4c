//! What comes from other replicas is checked before it is handed to openraft, which takes its peers at their word: a commit
//! that its log does not have, a log id of a later term than the vote, a claim to lead under this replica's own name end
//! its engine, and the process with it.
//!
//! ```text
//!   message ─▶ Claim: alone ─▶ Expected: against what the replica has, and will have once it took what is under way
//!                │ Wrong            │ Wrong                │ taken: its commit cut to what it covers ─▶ openraft
//!                ▼                  ▼
//!              BadRequest, counted, said
//! ```
//! What is refused is what no honest replica sends: a leader has every entry that is committed, never takes back what it
//! said under one vote, and speaks for itself over the link of its own data directory. What may be old is passed on: openraft
//! answers it by its vote. A peer that lies consistently is believed, as everywhere in Raft.

mod admitted;
mod answers;
mod claim;
mod election;
mod expected;
#[cfg(test)]
mod tests;
mod wrong;

pub use admitted::{Admitted, Door, Sender};
pub use answers::{Acknowledged, heeded, voted};
pub use claim::Claim;
pub use election::{check_take_over, check_vote_request};
pub use expected::{Expected, Known};
pub use wrong::Wrong;

use crate::env::Env;

/// The highest term at the beginning of 1970; it rises by one with every millisecond. Terms must not run out, and no honest
/// replicas elect more often. The bound is the same for all: one that depended on the terms that a replica has seen would let
/// a liar raise a term in two steps of which some replica misses the first, and then refuses its honest leader for ever.
const TERMS_IN_1970: u64 = 1 << 32;

/// The highest term that is taken from others now.
pub fn most_term<E: Env>() -> u64 {
    TERMS_IN_1970 + E::wall_clock().as_millis()
}
