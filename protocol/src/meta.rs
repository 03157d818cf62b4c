//! Commands of the system itself, and what the meta group keeps.

use rkyv::{Archive, Deserialize, Serialize};

use crate::RangeMap;

/// Asks a node for the range map and the nodes.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct MapGet {}

/// Moves machine time to at least `to`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Tick {
    /// An HLC stamp.
    pub to: u64,
}

/// One replica of a group.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Replica {
    /// openraft's node id: minted by the meta group, never used twice.
    pub replica: u64,
    /// The node that has it.
    pub node: u32,
    /// The data directory it lives in.
    pub incarnation: u64,
}

/// Where a group lives.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Placement {
    /// The group.
    pub group: u32,
    /// Its voters; the first one initialises the group and is its preferred leader.
    pub replicas: Vec<Replica>,
    /// The group has had a leader: it must never be initialised again.
    pub led: bool,
}

/// The first placement of all groups. Applied once; a second one changes nothing.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct PlaceGroups {
    /// The cluster's ranges.
    pub map: RangeMap,
    /// One line a data group.
    pub placements: Vec<Placement>,
}

/// The group has had a leader.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct SetLed {
    /// The group.
    pub group: u32,
}

/// A node of the cluster and how to reach it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct NodeInfo {
    /// The operator's number.
    pub node: u32,
    /// Its data directory.
    pub incarnation: u64,
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
    /// The node.
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

/// A command of the system was applied.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Done {}
