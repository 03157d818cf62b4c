#![doc = include_str!("../README.md")]

pub mod check;
pub mod cluster;
mod disk;
mod exec;
mod net;
mod sim;

pub use disk::{DiskOp, DiskOptions, DiskStats, SimDisk, SimFile};
pub use exec::{Exit, Join, NodeId, OUTSIDE, SimRng, SimRuntime, Sleep, TaskGone, VirtualClock, World};
pub use net::{Network, SimDetached, SimListener, SimNet, SimReadHalf, SimStream, SimWriteHalf};
pub use sim::Sim;
