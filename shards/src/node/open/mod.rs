//! Opening: from a data directory to the shards of a running node, and from a log to the groups in it.
//!
//! ```text
//!   start ─▶ data_dir ─▶ reshard ─▶ setups ─▶ one Runner per shard
//!   Runner ─▶ open_shard ─▶ log ─▶ GroupOpener: those in the log ─▶ the meta group ─▶ follow_placements
//! ```

mod data_dir;
mod error;
mod group_opener;
mod log;
mod log_sets;
mod meta_group;
mod placements;
mod ports;
mod remedy;
mod reshard;
mod setup;
mod shard;
mod start;

pub use data_dir::{DataDirError, PeerSpecText, listed_peers, open_or_format};
pub use error::{NodeStartError, ReshardError};
pub use group_opener::GroupOpener;
pub use log::{OPENING, log_identity, make_log};
pub use log_sets::say_held;
pub use placements::follow_placements;
pub use ports::probe_port;
pub use remedy::{exit_code_of, remedy};
pub use reshard::fit_shards;
pub use setup::{BootNumbers, Setup, setups};
pub use shard::open_shard;
pub use start::start;
