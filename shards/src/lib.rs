#![doc = include_str!("../README.md")]

pub mod budget;
pub mod clock;
pub mod config;
pub mod env;
pub mod group;
pub mod lanes;
pub mod linux;
pub mod load;
pub mod node;
pub mod peer;
pub mod raft;
pub mod serve;
pub mod shard;
mod unread;
mod unsent;
mod waits;
