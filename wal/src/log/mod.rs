//! The log as its shard uses it: appends in, durable batches out.
//!
//! ```text
//! append --> queue (the open batch, closed batches) --> writer --durable writes--> segments --> callbacks, in order
//!                                                        |  preparer: the next segment, always ready
//! ```
//!
//! Everything lives on one thread in one shared state; no borrow of it crosses an await.

mod allocate;
mod append;
mod file_names;
mod free;
mod handle;
mod in_flight;
mod index;
mod judge;
mod mover;
mod open;
mod patience;
mod pool;
mod prepare;
mod queue;
mod release;
mod run;
mod salvage;
mod space;
mod state;
mod stats;
mod waiters;
mod writer;

pub use append::Appended;
pub use file_names::{is_own, segment_of, segment_path};
pub use handle::Log;
pub use index::{EntryPlace, Hole, Index};
pub use space::Space;
pub use stats::LogStats;
