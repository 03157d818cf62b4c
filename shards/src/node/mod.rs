//! A node: the data directory, its shards, and how a cluster of nodes comes to be.
//!
//! ```text
//!   start ─▶ lock and manifest ─▶ logs cut for --shards ─▶ one Runner per shard
//!   Runner ─▶ Bootstrap (once) ─▶ log and groups ─▶ Duties of the meta group ─▶ drain
//! ```

mod addresses;
mod bootstrap;
pub mod creation;
mod data_dir;
mod drain;
mod duties;
mod groups;
mod lock;
mod losses;
mod placement;
mod ports;
pub mod recover;
mod replacements;
mod reseed;
mod reshard;
mod runner;
mod setup;
mod start;

pub(crate) use crate::manifest::small_file;
pub use crate::manifest::{self, founding};
pub use data_dir::{DataDirError, LOCK_FILE, PeerSpecText, listed_peers, open_or_format};
pub use lock::DirLock;
pub use ports::probe_port;
pub use reshard::{ReshardError, fit_shards};
pub use runner::{Runner, Setup};
pub use setup::{BootNumbers, setups};
pub use start::{NodeHandle, StartError, start};
