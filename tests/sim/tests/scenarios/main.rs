//! The situations that every description of Raft draws, each by its name: whole nodes, faults at chosen moments, and
//! asserts on what the description says.

mod clocks;
mod failures;
mod figure_8;
mod partitions;
mod rest;
mod split_vote;
mod stage;
