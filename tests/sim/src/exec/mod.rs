//! The executor: one thread, one seed, time that moves only when nothing else can.
//!
//! ```text
//!   ready tasks ──drawn by the seed──> poll one ──> clock += 1 us ──> wake who is due
//!        ^                                                              │
//!        └──────────── nobody ready: clock = next deadline <────────────┘
//! ```
//!
//! Every poll is folded into a hash, the [trace](World::trace): two runs of one seed are the same run exactly if their
//! traces are equal.

mod clock;
mod nodes;
mod ready;
mod rng;
mod runtime;
mod tasks;
mod world;

pub use clock::{Sleep, VirtualClock};
pub use nodes::{Exit, NodeId, OUTSIDE};
pub use rng::SimRng;
pub use runtime::{Join, SimRuntime, TaskGone};
pub use world::World;

pub(crate) use clock::Timers;
pub(crate) use rng::mix;
pub(crate) use world::current;
