//! Commands of the system itself, and what the meta group keeps.

use rkyv::{Archive, Deserialize, Serialize};

use crate::{ClusterId, GroupId, Incarnation, NodeId, RangeMap, ReplicaId, ShardId};

/// Asks a node for the range map and the nodes.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct MapGet {}

/// Moves machine time to at least `to`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Tick {
    /// HLC stamp that machine time reaches at least.
    pub to: u64,
}

/// One replica of a group.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Replica {
    /// openraft's node id: minted by the meta group, never used twice.
    pub replica: ReplicaId,
    /// The node that has it.
    pub node: NodeId,
    /// The data directory it lives in.
    pub incarnation: Incarnation,
}

/// The replicas of a group.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Placement {
    /// Data group, or the meta group itself.
    pub group: GroupId,
    /// Its voters; the first one initialises the group and is its preferred leader.
    pub replicas: Vec<Replica>,
    /// The group has had a leader: it must never be initialised again.
    pub led: bool,
}

/// What every replica of a group must agree on, fixed when the cluster is made.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Settings {
    /// How far clocks may be apart, in milliseconds: leases end this much later than their deadline.
    pub max_clock_skew_ms: u32,
    /// How long past `valid_until` a request's record is kept, in milliseconds.
    pub dedupe_grace_ms: u32,
    /// How many revisions of a key are kept.
    pub history_revisions: u32,
    /// Revisions younger than this are kept beyond that number, in milliseconds; 0 for none.
    pub history_retention_ms: u64,
    /// Most client sessions with records in one partition.
    pub max_sessions: u32,
    /// The top 16 bits of every token and revision; raised by a restore.
    pub restore_epoch: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_clock_skew_ms: 250,
            dedupe_grace_ms: 60_000,
            history_revisions: 16,
            history_retention_ms: 0,
            max_sessions: 65_536,
            restore_epoch: 0,
        }
    }
}

/// The first placement of all groups. Applied once; a second one changes nothing.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct PlaceGroups {
    /// For every data group.
    pub settings: Settings,
    /// Ranges of all data groups, without gaps or overlaps.
    pub map: RangeMap,
    /// One line a group. That of the meta group names the replicas it was founded with.
    pub placements: Vec<Placement>,
}

/// The group has had a leader.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct SetLed {
    /// Group whose placement gets `led`.
    pub group: GroupId,
}

/// The log of a node's replica of a group is gone: another replica shall take its place, on the same node. Asked for by that
/// node; repeating it is safe.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct ReplaceReplica {
    /// Group of the lost replica; the meta group is allowed.
    pub group: GroupId,
    /// Node that asks, which keeps its place in the group.
    pub node: NodeId,
    /// Data directory in which the log or snapshot was lost.
    pub incarnation: Incarnation,
    /// How often that directory lost a log or a snapshot, this time included: from 1. The same number again asks for the
    /// same replica.
    pub loss: u32,
}

/// A replica that takes, or took, the place of lost ones.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Replacement {
    /// Group of the new replica.
    pub group: GroupId,
    /// Node of both the lost and the new replica.
    pub node: NodeId,
    /// Data directory of the new replica, the one that lost the old one's log or snapshot.
    pub incarnation: Incarnation,
    /// The loss it was minted for.
    pub loss: u32,
    /// The new replica's id.
    pub replica: ReplicaId,
    /// It votes, and the group's place is its own.
    pub finished: bool,
    /// The replicas that had this place before, ascending: none of them may ever be opened again.
    pub lost: Vec<ReplicaId>,
}

/// The replica that was minted in the place of a lost one votes, and the lost one is out of its group. Proposed by the
/// group's leader; repeating it is safe.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct FinishReplacement {
    /// Group of the replacement.
    pub group: GroupId,
    /// The new replica's id.
    pub replica: ReplicaId,
}

/// A node of the cluster and how to reach it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct NodeInfo {
    /// Number that the operator gave the node, from 1.
    pub node: NodeId,
    /// Data directory that the node runs on.
    pub incarnation: Incarnation,
    /// Where clients reach it, `host:port`.
    pub client_address: String,
    /// Where peers reach it, `host:port`.
    pub peer_address: String,
    /// How many shards it runs.
    pub shards: u16,
}

/// Writes down a node's addresses.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct UpsertNode {
    /// Replaces the entry of the same node number.
    pub info: NodeInfo,
}

/// The range map and the nodes, as one node knows them.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Map {
    /// Who owns what.
    pub ranges: RangeMap,
    /// Who is there.
    pub nodes: Vec<NodeInfo>,
}

/// Asks a node how it is.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct StatusGet {}

/// One replica as its node sees it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct ReplicaStatus {
    /// Data group, or the meta group.
    pub group: GroupId,
    /// Id of this node's replica of the group.
    pub replica: ReplicaId,
    /// The shard that owns it.
    pub shard: ShardId,
    /// Raft term of the replica's vote.
    pub term: u64,
    /// The node that leads, 0 for none known.
    pub leader: NodeId,
    /// The last index in its log.
    pub last_index: u64,
    /// The last index applied.
    pub applied_index: u64,
    /// The last index of its newest snapshot.
    pub snapshot_index: u64,
    /// The first index still in the log.
    pub first_index: u64,
    /// How many records its state holds.
    pub records: u64,
}

/// How much room a node's disk gives its logs.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[rkyv(derive(Debug))]
#[repr(u8)]
pub enum DiskSpace {
    /// As much as they ask for.
    #[default]
    Plenty,
    /// It is full: a log goes on in what it had set aside, and what grows is refused.
    Reserve,
    /// It is full and that is used up: a log waits for room, and every write is refused.
    Exhausted,
}

/// A node as it sees itself.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Status {
    /// Number that the operator gave the node, from 1.
    pub node: NodeId,
    /// The cluster; all zero while pending.
    pub cluster: ClusterId,
    /// Data directory that the node runs on.
    pub incarnation: Incarnation,
    /// Version of the software, such as `0.1.0`.
    pub version: String,
    /// Since the process started, in milliseconds.
    pub uptime_ms: u64,
    /// How many shards it runs.
    pub shards: u16,
    /// Durable writes to the logs since the process started, all shards together.
    pub log_flushes: u64,
    /// Bytes in log segments.
    pub log_bytes: u64,
    /// Room for the logs, that of the shard which has the least.
    pub disk: DiskSpace,
    /// Open client connections.
    pub connections: u32,
    /// Peers whose heartbeat is current.
    pub peers_alive: Vec<NodeId>,
    /// What the node waits for, for a person; empty when it serves, or [`SERVES`](Status::SERVES) and what is to be mended.
    pub waiting: String,
    /// Ascending by group.
    pub replicas: Vec<ReplicaStatus>,
}

impl Status {
    /// What `waiting` begins with on a node that serves and has something to say all the same.
    pub const SERVES: &str = "serves; ";

    /// Whether the node serves.
    pub fn serves(&self) -> bool {
        self.waiting.is_empty() || self.waiting.starts_with(Self::SERVES)
    }
}

/// A command of the system was applied.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Done {}
