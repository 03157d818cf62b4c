#![doc = include_str!("../README.md")]
//!
//! # Layers
//!
//! A folder, or a file beside the folders, uses only what stands before it here; `tests/tidy.rs` of the repository reads this
//! list and holds every source file to it. Tests may use anything.
//!
//! ```text
//!   env < clock < config < budget < unsent < unread < discard < admission < manifest
//!       < request < peer < lanes < raft < group < shard < serve < linux < node
//! ```

pub mod admission;
pub mod budget;
pub mod clock;
pub mod config;
mod discard;
pub mod env;
pub mod group;
pub mod lanes;
pub mod linux;
pub mod manifest;
pub mod node;
pub mod peer;
pub mod raft;
pub mod request;
pub mod serve;
pub mod shard;
mod unread;
mod unsent;
