//! Whole nodes and their clients in one world.
//!
//! ```text
//!   Cluster ── Host (a disk that outlives its node) ── boot ─▶ Runner per shard, as the binary starts them
//!      │                                                └─▶ Probe: the shards, to be looked at from outside
//!      └── SimClient: the client's core on simulated wires, as a process of its own
//! ```
//! What a real process does before and after its shards run (the lock of the data directory, ports, threads) is left out
//! here; everything else is the very code that `kahuna serve` runs.

mod asker;
mod boot;
mod client;
mod exchange;
mod hosts;
mod probe;
mod shape;

pub(crate) use asker::SimAsker;
pub use client::SimClient;
pub use hosts::Cluster;
pub use probe::{GroupView, LogEntry, Probe};
pub use shape::Shape;
