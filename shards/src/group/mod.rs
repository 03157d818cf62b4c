//! One group's door: what comes in, waits, is proposed, read or passed on.
//!
//! ```text
//!            ┌ leading ── writes ─▶ proposals ─▶ one batch = one entry, <= 4 in flight ─▶ an outcome each
//!   serve() ─┤            reads ──▶ rounds ────▶ one ReadIndex for all that wait ───────▶ the machine's answer
//!            ├ led elsewhere ─────▶ forwarded once, to the leader's node
//!            └ unled ─────────────▶ parked until a leader is known
//! ```
//! **Every wait ends.** Every waiting request has a deadline, and one timer per group ends the wait: a proposed request is
//! answered `Unknown`, any other one that it was not applied. The client gets this answer whatever openraft does meanwhile.
//!
//! **Leadership.** Proposals of a lost leadership are repeated under their own session and number, where the dedupe table
//! makes that safe; without a session they are answered `Unknown`. Requests that were not proposed go to the new leader.
//!
//! **Time.** A leader stamps by the clock that the nodes agree on. Nothing is stamped before the other nodes' clocks were
//! received and judged, see `time`.
//!
//! **Dead nodes.** The live nodes elect new leaders at once for the groups that a dead node led, see `failover`.
//!
//! **Full disks.** Requests that need room are refused before they are proposed, see `room`; every replica applies what was
//! proposed.

mod context;
mod deadlines;
mod failover;
mod flight;
mod forward;
#[expect(clippy::module_inception, reason = "the file has the name of the type in it")]
mod group;
mod groups;
mod leadership;
mod proposals;
mod proposers;
mod reads;
mod room;
mod rounds;
mod time;
mod workers;

pub use context::GroupContext;
pub use failover::Failover;
pub(crate) use forward::{Again, Forward};
pub use group::Group;
pub use groups::{Groups, RAFT_KINDS};
pub use proposals::{MAX_BATCH_COMMANDS, MAX_BATCHES};
