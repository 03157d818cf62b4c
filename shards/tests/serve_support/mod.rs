//! A client that speaks raw frames, and shards without a node around them.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this")]

mod client;
pub mod groups;
mod served;

pub use self::{
    client::{Client, Closed, PATIENCE, frame, hello, request_frame},
    served::{Gauge, INCARNATION, Served, config, serve},
};
