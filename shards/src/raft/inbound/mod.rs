//! Messages of other replicas are checked before openraft gets them, because openraft trusts its peers: a commit that its
//! log does not have, a log id of a later term than the vote, or a claim to lead under this replica's own id ends its
//! engine, and the process with it.
//!
//! ```text
//!   message ─▶ Claim: alone ─▶ Expected: against what the replica has, and will have once it took what is under way
//!                │ Wrong            │ Wrong                │ taken: its commit cut to what it covers ─▶ openraft
//!                ▼                  ▼
//!              BadRequest, counted, printed
//! ```
//! A message is refused if no honest replica sends it: a leader has every committed entry, never takes back what it sent
//! under one vote, and sends only in its own name, over the link of its own data directory. Messages that may only be old
//! are passed on: openraft answers them by its vote. A peer that lies consistently is trusted, as everywhere in Raft.

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
