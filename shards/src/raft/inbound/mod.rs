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
mod handler;
mod sender;
mod term;
#[cfg(test)]
mod tests;
mod wrong;

pub use admitted::{Admitted, Door};
pub use answers::{Acknowledged, heeded, voted};
pub use claim::Claim;
pub use election::{check_transfer_leader, check_vote_request};
pub use expected::{Expected, Known};
pub use handler::InboundHandler;
pub use sender::Sender;
pub use term::most_term;
pub use wrong::Wrong;
