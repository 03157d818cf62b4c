//! Real processes of the real binary under real faults, judged by the same [checker](crate::check).
//!
//! ```text
//!   switch ── veth ── n1: kahuna serve, ext4 on a loop device        each host in a network namespace of its own
//!     ├────── veth ── n2: ...
//!     └────── veth ── c1, c2: client threads of this process
//!
//!   form ─▶ round: faults ─▶ mend ─▶ settle ─▶ demand answers ─▶ round ... ─▶ stop ─▶ read all ─▶ judge
//! ```
//! A wire is cut one way by a permanent neighbour entry with an address that no host has: the sender's packets leave and
//! are lost, without an error. That needs no packet filter in the kernel. With the address of a middleman in its place,
//! packets are lost, doubled and delayed (`murk/`).
//!
//! The seed decides which faults are drawn and what the clients ask. When what happens is up to the machine: a run cannot
//! be repeated exactly, its history can be judged again.
#![doc = include_str!("../../CHAOS.md")]

mod asker;
mod crowd;
mod disks;
mod drive;
mod error;
mod fault;
mod hosts;
mod leftovers;
mod murk;
mod nemesis;
mod nodes;
mod plan;
mod report;
mod stop;
mod strikes;
mod timeline;
mod tools;
mod wires;

pub use drive::run;
pub use error::ChaosError;
pub use fault::HostFault;
pub use plan::{Plan, Profile};
pub use report::ChaosReport;
pub use stop::Stop;
