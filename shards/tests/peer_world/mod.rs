//! Nodes for tests of the peer links: real `Peers` on the glommio runtime, over loopback sockets.
#![allow(dead_code, unused_imports, reason = "every test binary uses a part of it")]

mod echo;
mod frames;
mod nodes;
mod running;
mod wire;

pub use kahuna_shards::peer::AddressSource;

pub use self::{
    echo::{Echo, KIND_ECHO, ask, ask_group, group},
    frames::{answer_frame, frame, hello, hello_frame, introduction},
    nodes::{CLUSTER, limits, listen, local, node, pair, peers},
    running::{LIMIT, later, on_numbered_shard, on_shard, until},
    wire::Wire,
};
