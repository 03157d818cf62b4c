//! One replica of one Raft group: openraft between the shard's log, the partition's machine and the peer links.
//!
//! ```text
//!   group ── propose, read_index ──▶ Replica ◀── on_message ── peer links
//!                                      │
//!        LogStore ◀── vote, entries ── openraft ── committed entries ──▶ StateMachine ──▶ AppliedState
//!           │                          │                                       │
//!   kahuna_wal::Log (the shard's)      Network ──▶ peer links               SnapshotKeeper ──▶ files
//! ```
//! - [`types`]: openraft's parameters; [`encoding`], [`messages`]: formats on disk and on the wire.
//! - [`inbound`]: messages of other replicas, checked before openraft gets them. `network`, `link`, `pipeline`: ours to them.
//! - [`LogStore`]: votes and entries through the shared log; what is unpurged is in memory too.
//! - [`AppliedState`]: the machine and the last entry applied; [`snapshot`]: how its state gets into files, and over the links.
//! - [`Replica`]: all of it together, with the boot gate before it; `open` puts it together.
//!
//! **Boot gate.** openraft restores a vote without the lease that it may have granted. A replica that was just started
//! therefore keeps its ticks off and answers no vote, pre-vote or hand-over until an election timeout is over: else it could
//! help to elect a second leader while the first one's lease runs. Exempt are a replica that never stored anything, the
//! only voter of its group, and votes for a candidate that the old leader itself appointed.
//!
//! **Liveness.** A group at rest sends nothing. The pulses of the nodes prove that a leader lives: see `belief`, and the
//! `election_timer` that runs without a leader. Messages that may be lost are repeated by `heartbeats` until they are
//! acknowledged.
//!
//! **When answers leave.** An entry counts for a majority only when the log reports it durable; an outcome is answered
//! only when the entry is committed and applied here; a read is answered only behind a ReadIndex that began after it.

mod applied;
mod belief;
mod boot_gate;
mod campaigns;
mod compaction;
mod eager;
mod election_timer;
pub mod encoding;
mod entries;
mod error;
mod full_disks;
mod heartbeats;
pub mod inbound;
mod leadership;
mod link;
mod log_store;
mod membership;
pub mod messages;
mod network;
mod open;
mod own_flush;
mod pipeline;
mod propose;
mod reads;
mod replica;
pub mod snapshot;
mod state_machine;
pub mod types;
mod unacked;
mod window;

pub use applied::{AppliedContext, AppliedState};
pub use campaigns::Campaigns;
pub use error::{InitializeError, OpenError, ProposeError, ReadError, TransferError};
pub use heartbeats::Heartbeats;
pub use inbound::Sender;
pub use leadership::Leader;
pub use link::{ReplicaLink, ReplicaLinks};
pub use log_store::LogStore;
pub use membership::{Step, next_step};
pub use open::ReplicaContext;
pub use reads::Reads;
pub use replica::Replica;
pub use state_machine::StateMachine;
