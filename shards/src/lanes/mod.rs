//! Messages between the shards of one node. The shards share nothing else.
//!
//! ```text
//!             who repairs a loss      bounded by
//!   request   the asker: `Busy`       the asker's reply slots: LANE_REQUESTS and LANE_BYTES per pair of shards
//!   reply     nobody, never lost      its slot was taken before the request left; long ones by SHARD_CROSSING_BYTES, then `Busy`
//!   control   nobody, never lost      rare: connections on the move, the map, leaders, questions of the node
//! ```
//! Messages to a shard gather while other tasks run and cross as one `Vec`: a wake-up of another core costs more than a
//! hundred messages.

mod control;
mod ends;
mod exchange;
mod slots;

pub use control::{ClusterNews, Control, Detached, LifeNews, Moved, ShardStatus};
pub use ends::{LaneEnds, LaneReply, LaneRequest, Outlet, lanes};
pub use exchange::Lanes;
