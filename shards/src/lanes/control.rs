//! Control messages between the shards of a node: a closed list.

use std::sync::Arc;

use bytes::Bytes;
use flume::Sender;
use kahuna_machine::Meta;
use kahuna_protocol::handshake::Hello;
use kahuna_protocol::meta::{DiskSpace, ReplicaStatus};
use kahuna_protocol::{GroupId, NodeId, ShardId};

use crate::admission::Admitted;
use crate::env::{Env, Net};
use crate::manifest::Manifest;
use crate::peer::NodeEvent;

/// A connection on its way to another shard.
pub type Detached<E> = <<E as Env>::Net as Net>::Detached;

/// One shard's part of a node's status.
#[derive(Clone, Debug, Default)]
pub struct ShardStatus {
    /// Status of every replica that is open on the shard.
    pub replicas: Vec<ReplicaStatus>,
    /// Durable writes to its log.
    pub log_flushes: u64,
    /// Bytes in its log's segments.
    pub log_bytes: u64,
    /// The room that its log has.
    pub disk: DiskSpace,
    /// Number of open client connections.
    pub connections: u32,
    /// Peers whose heartbeat is current, as far as this shard watches them.
    pub peers_alive: Vec<NodeId>,
    /// What the shard waits for, for a person; empty when it serves.
    pub waiting: String,
    /// What is to be mended although the shard serves, for a person; empty when nothing is.
    pub note: String,
}

/// A message from one shard to another that is no request.
pub enum Control<E: Env> {
    /// A connection that belongs to this shard.
    Connection(Moved<E>),
    /// The cluster changed, as far as this node knows.
    Cluster(ClusterNews),
    /// The node itself changed.
    Life(LifeNews),
    /// A question for the shard's part of the status.
    Status(Sender<ShardStatus>),
}

/// A connection that another shard accepted, with what was read from it.
pub enum Moved<E: Env> {
    /// A client wished to be served by this shard.
    Client {
        /// Connection, detached from the thread that accepted it.
        connection: Detached<E>,
        /// First frame of the client, which chose the shard.
        hello: Hello,
        /// That frame's number.
        request_id: u64,
        /// What was read beyond it.
        unread: Bytes,
        /// Its room among the node's clients.
        admitted: Admitted,
    },
    /// A peer's link to this shard.
    Peer {
        /// Connection, detached from the thread that accepted it.
        connection: Detached<E>,
        /// Everything that was read from it, its first frame included.
        unread: Bytes,
    },
}

/// News of the cluster, for every shard.
pub enum ClusterNews {
    /// A group's leader changed, as a replica of this node sees it; node 0 for none known.
    Leader {
        /// Group whose leader changed.
        group: GroupId,
        /// Who leads it.
        leader: NodeId,
    },
    /// The state of a node changed.
    Node(NodeEvent),
    /// The clocks were judged: for the first time, or otherwise than before. With what a person is to know, if anything.
    Clocks(Option<String>),
    /// The meta group's state was changed, or read for the first time.
    Meta(Arc<Meta>),
}

/// What happens to the node, from its founding to its stop.
pub enum LifeNews {
    /// The cluster was founded, or joined: the shard may open its log.
    Founded(Arc<Manifest>),
    /// A shard's log is lost, or else a group's snapshot: shard 0 counts it before anything takes its place.
    Lost {
        /// The shard, if it is a log.
        log_of: Option<ShardId>,
        /// Gets the manifest once the loss is counted in it durably.
        counted: Sender<Arc<Manifest>>,
    },
    /// The manifest was changed.
    Manifest(Arc<Manifest>),
    /// Stop serving.
    Stop,
}
