//! A node: the data directory, its shards, and how a cluster of nodes comes to be. One folder per act; the acts of a shard
//! borrow its `NodeContext`.
//!
//! ```text
//!   open/    start ─▶ lock and manifest ─▶ logs cut for --shards ─▶ one Runner per shard
//!   found/   Runner ─▶ Bootstrap, once
//!   open/    Founded ─▶ log ─▶ groups ─▶ MetaDuties of the meta group ─▶ placements
//!   repair/  a lost log or snapshot ─▶ counted ─▶ new replicas ─▶ taken in by their groups
//!            Stop ─▶ drain: leaderships handed over, log closed
//!   recover/ without a quorum: a new cluster of one node, of what the data directory still holds
//! ```

mod addresses;
mod context;
mod drain;
mod found;
mod hand_over;
mod handle;
mod known_addresses;
mod lock;
mod log_maintenance;
mod meta_duties;
mod open;
pub mod recover;
mod repair;
mod runner;

pub(crate) use crate::manifest::small_file;
pub use crate::manifest::{self, founding};
pub use found::creation;
pub use handle::NodeHandle;
pub use lock::{DirLock, LOCK_FILE};
pub use open::{
    BootNumbers, DataDirError, NodeStartError, PeerSpecText, ReshardError, Setup, fit_shards, listed_peers,
    open_or_format, probe_port, setups, start,
};
pub use runner::Runner;
