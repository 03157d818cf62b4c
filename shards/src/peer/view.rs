//! What this shard knows of another node.

use std::time::Duration;

use kahuna_protocol::{ClusterId, Incarnation, NodeId, ShardId};

/// Another node, as it introduced itself last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Number that the operator gave the node.
    pub node: NodeId,
    /// Data directory that the node runs on.
    pub incarnation: Incarnation,
    /// Random per process.
    pub boot_id: u64,
    /// Its cluster; [`ClusterId::NONE`] while it is pending.
    pub cluster: ClusterId,
    /// The nodes of the first cluster by its configuration: (id, peer address).
    pub peer_set: Vec<(NodeId, String)>,
    /// Where clients reach it, `host:port`.
    pub client_address: String,
    /// Where peers reach it, `host:port`.
    pub peer_address: String,
    /// How many shards it runs.
    pub shards: u16,
    /// When a frame of it came last, as time since boot ([`Env::boot_clock`](crate::env::Env::boot_clock)).
    pub last_heard: Duration,
    /// When the node's watcher last reported it up, on the same clock; zero while it is down.
    pub up_since: Duration,
}

/// What happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// It answers, under this boot.
    Up {
        /// Node that came up.
        node: NodeId,
        /// Data directory that the node runs on.
        incarnation: Incarnation,
        /// Random per process.
        boot_id: u64,
    },
    /// It does not answer any more.
    Down {
        /// Node that went down.
        node: NodeId,
        /// Data directory that the node ran on.
        incarnation: Incarnation,
    },
    /// It answers, but one of its shards has not moved for long.
    Stalled {
        /// Node of the stalled shard.
        node: NodeId,
        /// Data directory that the node runs on.
        incarnation: Incarnation,
        /// Shard that has not moved.
        shard: ShardId,
    },
    /// Its pulses arrive, under this boot: frames of the node reach this one.
    Heard {
        /// Node whose pulses come.
        node: NodeId,
        /// Data directory that the node runs on.
        incarnation: Incarnation,
        /// Random per process.
        boot_id: u64,
    },
    /// Its pulses stopped. Not reported for a node that is `Down`.
    Unheard {
        /// Node whose pulses stopped.
        node: NodeId,
        /// Data directory that the node ran on.
        incarnation: Incarnation,
    },
    /// A stalled shard moves again. Not reported for a node that is `Down`.
    Resumed {
        /// Node of the shard.
        node: NodeId,
        /// Shard that was stalled before.
        shard: ShardId,
    },
}
