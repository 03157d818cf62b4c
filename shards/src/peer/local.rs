//! What this node tells the others about itself, and how much it lets them send.

use kahuna_protocol::limits::SHARD_REPLICATION_BYTES;
use kahuna_protocol::{ClusterId, Incarnation, Limits, NodeId, ShardId};

/// This node and shard as the peers see them.
#[derive(Clone, Debug)]
pub struct LocalNode {
    /// The operator's number, above 0.
    pub node: NodeId,
    /// The data directory, never 0.
    pub incarnation: Incarnation,
    /// Random per process, the same on all of its shards.
    pub boot_id: u64,
    /// The shard that holds this value.
    pub shard: ShardId,
    /// How many shards the node runs, above 0.
    pub shards: u16,
    /// Where clients reach the node, `host:port`.
    pub client_address: String,
    /// Where peers reach it, `host:port`.
    pub peer_address: String,
    /// The cluster, or [`ClusterId::NONE`] while the node is pending.
    pub cluster: ClusterId,
    /// The nodes of the first cluster by this node's configuration, in order: (id, peer address).
    pub peer_set: Vec<(NodeId, String)>,
}

/// What a link holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLimits {
    /// Longest payload of one frame in bytes.
    pub max_frame_bytes: u32,
    /// Most bytes that wait in one link to be written. Calls beyond it are [`Busy`](super::CallError::Busy); a peer that
    /// lets as much of our answers pile up loses its link.
    pub queue_bytes: usize,
    /// Most bytes of Raft messages that a shard has taken from all its links and not answered: its log may be slow. One more
    /// is refused.
    pub unanswered_bytes: u64,
    /// How far clocks may be apart, in milliseconds: half of it raises the alarm.
    pub max_clock_skew_ms: u32,
}

impl PeerLimits {
    /// Room for the largest batch or snapshot chunk that goes with these limits of clients.
    pub fn for_clients(limits: &Limits) -> Self {
        let max_frame_bytes = limits.max_frame_bytes.saturating_mul(2).max(16 << 20);
        Self {
            max_frame_bytes,
            queue_bytes: 4 * max_frame_bytes as usize,
            unanswered_bytes: SHARD_REPLICATION_BYTES,
            max_clock_skew_ms: limits.max_clock_skew_ms,
        }
    }

    /// Most bytes that wait in all links of a shard to be written: four times what one holds.
    pub fn shard_queue_bytes(&self) -> usize {
        4 * self.queue_bytes
    }

    /// Most bytes of frames that other nodes have sent to a shard and that are not whole yet: eight of the longest.
    pub fn shard_unread_bytes(&self) -> usize {
        8 * self.max_frame_bytes as usize
    }
}
