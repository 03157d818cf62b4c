//! One group's door: what comes in, waits, is proposed, read or passed on.
//!
//! ```text
//!            ┌ leading ── writes ─▶ proposals ─▶ one batch = one entry, <= 4 in flight ─▶ an outcome each
//!   serve() ─┤            reads ──▶ rounds ────▶ one ReadIndex for all that wait ───────▶ the machine's answer
//!            ├ led elsewhere ─────▶ forwarded once, to the leader's node
//!            └ unled ─────────────▶ parked until somebody leads
//! ```
//! **Every wait ends.** Whatever waits here has a deadline, and one timer per group ends it: what was proposed answers
//! `Unknown`, what was not answers that it is not applied. What openraft does meanwhile changes nothing for the client.
//!
//! **Leadership.** What was proposed under a lost leadership is repeated under its own session and number, where the
//! dedupe table makes that safe; without a session it answers `Unknown`. What was not proposed goes to the new leader.
//!
//! **Time.** A leader stamps by the clock that the nodes agree on. Before the other nodes' clocks were heard and judged,
//! nothing is stamped, see `time`.
//!
//! **Dead nodes.** Of the groups that a dead node led, the live ones elect other leaders at once, see `failover`.
//!
//! **Full disks.** What needs room is refused before it is proposed, see `room`; what was proposed is applied by everybody.

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

pub use context::GroupContext;
pub use failover::Failover;
pub(crate) use forward::{Again, Forward};
pub use group::Group;
pub use groups::{Groups, RAFT_KINDS};
pub use proposals::{MAX_BATCH_COMMANDS, MAX_BATCHES};
