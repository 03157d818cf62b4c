#![doc = include_str!("../README.md")]

pub mod chaos;
pub mod check;
pub mod claims;
pub mod cli;
pub mod cluster;
mod disk;
mod exec;
pub mod finding;
pub mod nemesis;
mod net;
mod recorder;
pub mod run;
pub mod shrink;
mod sim;

pub use disk::{DiskOp, DiskOptions, DiskStats, SimDisk, SimFile};
pub use exec::{Exit, Join, NodeId, OUTSIDE, SimRng, SimRuntime, Sleep, TaskGone, VirtualClock, World};
pub use net::{Broken, Network, SimDetached, SimListener, SimNet, SimReadHalf, SimStream, SimWriteHalf};
pub use sim::Sim;
