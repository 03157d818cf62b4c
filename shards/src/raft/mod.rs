//! One replica of one Raft group: openraft between the shard's log, the partition's machine and the peer links.
//!
//! ```text
//!   group ── propose, read_index ──▶ Replica ◀── on_message ── peer links
//!                                      │
//!        LogStore ◀── vote, entries ── openraft ── committed entries ──▶ StateMachine ──▶ Applied { machine }
//!           │                          │                                       │
//!   kahuna_wal::Log (the shard's)      Link, Pipeline ──▶ peer links           snapshot files
//! ```
//! - [`types`]: openraft's parameters; [`encoding`], [`messages`]: formats on disk and on the wire.
//! - [`inbound`]: what other replicas send, checked before openraft hears of it.
//! - [`LogStore`]: votes and entries through the shared log; what is unpurged is in memory too.
//! - [`Applied`]: the machine and how far it came; [`snapshot`]: how its state gets into files, and over the links.
//! - [`Replica`]: all of it together, with the boot gate before it.
//!
//! **Boot gate.** openraft restores a vote without the lease that it may have granted. A replica that was just started
//! therefore keeps its ticks off and answers no vote, pre-vote or hand-over until an election timeout is over: else it could
//! help to elect a second leader while the first one's lease runs. Exempt are a replica that never stored anything, the
//! only voter of its group, and votes for a candidate that the old leader itself appointed.
//!
//! **What is told when.** An entry counts for a majority only when the log told that it is durable; an outcome is told
//! only when the entry is committed and applied here; a read is answered only behind a ReadIndex that began after it.

mod applied;
mod compaction;
mod dispatch;
pub mod encoding;
mod entries;
mod error;
mod full_disks;
pub mod inbound;
mod leadership;
mod link;
mod log_store;
mod membership;
pub mod messages;
mod pipeline;
mod replica;
mod serving;
pub mod snapshot;
mod started;
mod state_machine;
pub mod types;
mod unanswered;
mod window;

pub use applied::{Applied, Start};
pub use error::{InitializeError, OpenError, ProposeError, ReadError, TransferError};
pub use inbound::Sender;
pub use leadership::Leader;
pub use link::{Link, Links};
pub use log_store::LogStore;
pub use membership::{Step, next_step};
pub use replica::{Replica, ReplicaContext};
pub use state_machine::StateMachine;
