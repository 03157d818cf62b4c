//! The first frame each way on a client connection.

use rkyv::{Archive, Deserialize, Serialize};

pub use crate::kinds::{KIND_HELLO, KIND_WELCOME};
use crate::meta::Map;
use crate::{ClusterId, Limits, NodeId, ShardId};

/// A shard wish of "any".
pub const ANY_SHARD: ShardId = ShardId(u16::MAX);

/// The client's first frame.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Hello {
    /// The lowest protocol version the client speaks.
    pub min_version: u8,
    /// The highest one, `min_version` or above.
    pub max_version: u8,
    /// The shard that shall serve this connection, or [`ANY_SHARD`].
    pub shard: ShardId,
    /// The cluster the client expects; all zero for any.
    pub cluster: ClusterId,
    /// For the server's status output.
    pub client_name: String,
}

/// The server's answer to [`Hello`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Welcome {
    /// The version both use from here on.
    pub version: u8,
    /// The node that answers.
    pub node: NodeId,
    /// The shard that serves this connection.
    pub shard: ShardId,
    /// Cluster of the node; all zero while the node is pending.
    pub cluster: ClusterId,
    /// What the node accepts.
    pub limits: Limits,
    /// Who owns what.
    pub map: Map,
}
