//! The first frame in each direction of a link, and which nodes are accepted.
//!
//! The dialler sends its identity and the node it expects; the acceptor answers with its own identity, or refuses with an
//! error frame that names both sides. The link ends if either end is not the node that the other expected: so a wiped node,
//! a node of another cluster and a wrong address are detected before any message of a group passes.

use kahuna_protocol::frame::{VERSIONS, access, archive_into, to_owned};
pub use kahuna_protocol::kinds::{KIND_PEER_HELLO, KIND_PEER_WELCOME};
use kahuna_protocol::{ClusterId, ErrorCode, ErrorReply, FrameError, Incarnation, NodeId, ShardId};
use rkyv::{Archive, Archived, Deserialize, Serialize};

use super::LocalNode;

/// Longest payload of a handshake frame in bytes.
pub const MAX_HANDSHAKE_BYTES: u32 = 64 << 10;

/// A node of the first cluster, by a node's configuration.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct ListedPeer {
    /// Number that the operator gave the node, from 1.
    pub node: NodeId,
    /// Where its peers reach it, `host:port`.
    pub address: String,
}

/// Who an end of a link is.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Introduction {
    /// Number that the operator gave the node, from 1.
    pub node: NodeId,
    /// The shard at this end.
    pub shard: ShardId,
    /// How many shards the node runs.
    pub shards: u16,
    /// Data directory that the node runs on.
    pub incarnation: Incarnation,
    /// Random per process.
    pub boot_id: u64,
    /// The cluster; all zero while the node is pending.
    pub cluster: ClusterId,
    /// Longest payload of a frame that this end accepts, in bytes.
    pub max_frame_bytes: u32,
    /// Where clients reach the node, `host:port`.
    pub client_address: String,
    /// Where peers reach the node, `host:port`.
    pub peer_address: String,
    /// The nodes of the first cluster by its configuration, in order.
    pub peer_set: Vec<ListedPeer>,
}

/// The dialler's first frame.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct PeerHello {
    /// The lowest protocol version the dialler speaks.
    pub min_version: u8,
    /// The highest one, `min_version` or above.
    pub max_version: u8,
    /// The shard asked for; a number that the node does not have means any shard.
    pub to_shard: ShardId,
    /// The node that is wanted.
    pub to_node: NodeId,
    /// The data directory that is wanted; 0 as long as it is not known.
    pub to_incarnation: Incarnation,
    /// Who dials.
    pub from: Introduction,
}

/// First frame of the acceptor, which lets the dialler in.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct PeerWelcome {
    /// The version both use from here on.
    pub version: u8,
    /// Who answers.
    pub from: Introduction,
}

impl Introduction {
    /// This end.
    pub(super) fn of(local: &LocalNode, max_frame_bytes: u32) -> Self {
        let peer_set =
            local.peer_set.iter().map(|(node, address)| ListedPeer { node: *node, address: address.clone() }).collect();
        Self {
            node: local.node,
            shard: local.shard,
            shards: local.shards,
            incarnation: local.incarnation,
            boot_id: local.boot_id,
            cluster: local.cluster,
            max_frame_bytes,
            client_address: local.client_address.clone(),
            peer_address: local.peer_address.clone(),
            peer_set,
        }
    }

    fn is_sound(&self) -> bool {
        self.node != NodeId(0) && self.incarnation != Incarnation(0) && self.shards > 0 && self.shard.0 < self.shards
    }
}

impl PeerHello {
    /// The hello to shard `to_shard` of a node.
    pub(super) fn new(to: NodeId, to_shard: ShardId, to_incarnation: Option<Incarnation>, from: Introduction) -> Self {
        Self {
            min_version: *VERSIONS.start(),
            max_version: *VERSIONS.end(),
            to_shard,
            to_node: to,
            to_incarnation: to_incarnation.unwrap_or(Incarnation(0)),
            from,
        }
    }

    /// Appends the archived body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        archive_into(self, out);
    }

    /// # Errors
    /// `UnknownKind` when it is another frame, `Body` when it does not validate.
    pub fn decode(kind: u16, body: &[u8]) -> Result<Self, FrameError> {
        match kind {
            KIND_PEER_HELLO => Ok(to_owned(access::<Archived<Self>>(kind, body)?)),
            _ => Err(FrameError::UnknownKind(kind)),
        }
    }

    /// Whether the node `local` lets this dialler in, and with which version. `known` is the data directory that the
    /// cluster has on record for the dialler's number.
    ///
    /// # Errors
    /// The refusal that the dialler gets, for a person to read.
    pub(super) fn judge(&self, local: &LocalNode, known: Option<Incarnation>) -> Result<u8, ErrorReply> {
        let from = &self.from;
        let version = self.max_version.min(*VERSIONS.end());
        if version < self.min_version.max(*VERSIONS.start()) {
            let text = format!(
                "node {} speaks versions {} to {}, node {} speaks {} to {}; upgrade the older one",
                from.node,
                self.min_version,
                self.max_version,
                local.node,
                VERSIONS.start(),
                VERSIONS.end()
            );
            return Err(ErrorReply::new(ErrorCode::BadVersion, text));
        }
        let refuse = |text: String| Err(ErrorReply::new(ErrorCode::BadRequest, text));
        if !from.is_sound() {
            return refuse(format!("node {}: an introduction with values out of range", from.node));
        }
        if from.boot_id == local.boot_id {
            return refuse(format!(
                "node {} reached itself under the address of node {}; correct the address in --peers",
                local.node, self.to_node
            ));
        }
        if from.node == local.node {
            return refuse(format!(
                "two nodes have the number {}: the one at {} and the one at {}; give one of them another --node-id",
                local.node, from.peer_address, local.peer_address
            ));
        }
        if self.to_node != local.node {
            return refuse(format!(
                "node {} wanted node {} and reached node {} ({}); correct the address in --peers",
                from.node, self.to_node, local.node, local.peer_address
            ));
        }
        check_cluster(local, from)?;
        if self.to_incarnation != Incarnation(0) && self.to_incarnation != local.incarnation {
            return refuse(format!(
                "node {} wanted node {} with the data directory {:016x}, and it runs on {:016x}; start it with its old \
                 data directory",
                from.node, local.node, self.to_incarnation, local.incarnation
            ));
        }
        check_known(from, known)?;
        Ok(version)
    }
}

impl PeerWelcome {
    /// Appends the archived body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        archive_into(self, out);
    }

    /// # Errors
    /// `UnknownKind` when it is another frame, `Body` when it does not validate.
    pub fn decode(kind: u16, body: &[u8]) -> Result<Self, FrameError> {
        match kind {
            KIND_PEER_WELCOME => Ok(to_owned(access::<Archived<Self>>(kind, body)?)),
            _ => Err(FrameError::UnknownKind(kind)),
        }
    }

    /// Whether this is the node that was wanted.
    ///
    /// # Errors
    /// What is wrong with it, for a person to read.
    pub(super) fn judge(
        &self,
        local: &LocalNode,
        wanted: NodeId,
        known: Option<Incarnation>,
    ) -> Result<(), ErrorReply> {
        let from = &self.from;
        if !VERSIONS.contains(&self.version) {
            let text = format!("node {wanted} answers with version {}, which is not spoken here", self.version);
            return Err(ErrorReply::new(ErrorCode::BadVersion, text));
        }
        if !from.is_sound() || from.node != wanted {
            let text = format!("wanted node {wanted} and reached node {} ({})", from.node, from.peer_address);
            return Err(ErrorReply::new(ErrorCode::BadRequest, text));
        }
        check_cluster(local, from)?;
        check_known(from, known)
    }
}

/// Two clusters differ only when both are known: a pending node has none yet. A pending node is accepted only to ask for
/// the founding, from which it learns whether it is a member, until its pulse names the cluster.
fn check_cluster(local: &LocalNode, from: &Introduction) -> Result<(), ErrorReply> {
    let cluster = from.cluster;
    if cluster.is_none() || local.cluster.is_none() || cluster == local.cluster {
        return Ok(());
    }
    let text = format!(
        "node {} belongs to cluster {cluster}, node {} to {}; one of them runs on the data directory of another cluster",
        from.node, local.node, local.cluster
    );
    Err(ErrorReply::new(ErrorCode::WrongCluster, text))
}

fn check_known(from: &Introduction, known: Option<Incarnation>) -> Result<(), ErrorReply> {
    match known.filter(|known| *known != from.incarnation) {
        None => Ok(()),
        Some(known) => Err(ErrorReply::new(
            ErrorCode::BadRequest,
            format!(
                "the cluster knows node {} with the data directory {:016x}, and it runs on {:016x}; start it with its old \
                 data directory",
                from.node, known, from.incarnation
            ),
        )),
    }
}
