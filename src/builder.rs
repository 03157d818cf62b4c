//! A node inside a program.

use std::net::SocketAddr;
use std::path::PathBuf;

use kahuna_client::protocol::meta::Settings;
use kahuna_client::protocol::{Limits, NodeId};
use kahuna_shards::config::{NodeConfig, PeerSpec, Timing};
use kahuna_shards::node::{self, NodeHandle};

use crate::address::Address;
use crate::host::{self, Finding, Needs};

/// Loopback, a port the kernel picks.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Why an embedded node does not start. Nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// [`Builder::data_dir`] was not called.
    #[error("no data directory was given")]
    NoDataDir,
    /// A node of [`Builder::peer`] is nowhere.
    #[error("node {0}: {1}")]
    Peer(u32, String),
    /// The host cannot run it; every trouble found, one a line.
    #[error("{}", .0.join("\n"))]
    Host(Vec<String>),
    /// The host was fit, but the node did not start.
    #[error(transparent)]
    Node(#[from] node::NodeStartError),
}

/// A running node. Dropped, it drains and stops.
#[derive(Debug)]
pub struct Node {
    handle: NodeHandle,
}

impl Node {
    /// A node of its own cluster, on loopback ports that the kernel picks, with one shard, unless told otherwise.
    pub fn builder() -> Builder {
        Builder {
            data_dir: None,
            node_id: 1,
            listen: ANY_PORT,
            peer_listen: ANY_PORT,
            peers: Vec::new(),
            shards: 1,
            partitions: None,
            allow_tmpfs: false,
            timing: Timing::default(),
        }
    }

    /// Where clients connect.
    pub fn client_address(&self) -> SocketAddr {
        self.handle.client_address()
    }

    /// Where the other nodes connect.
    pub fn peer_address(&self) -> SocketAddr {
        self.handle.peer_address()
    }

    /// Hands leaderships over, answers what is in flight, stops. Blocks until that is done.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

/// The configuration of a node before it starts.
#[derive(Clone, Debug)]
pub struct Builder {
    data_dir: Option<PathBuf>,
    node_id: u32,
    listen: SocketAddr,
    peer_listen: SocketAddr,
    peers: Vec<PeerSpec>,
    shards: u16,
    partitions: Option<u32>,
    allow_tmpfs: bool,
    timing: Timing,
}

impl Builder {
    /// Where the data lives; made if it is missing. There is no default.
    pub fn data_dir(self, dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: Some(dir.into()), ..self }
    }

    /// The node's number, from 1 (default).
    pub fn node_id(self, node_id: u32) -> Self {
        Self { node_id, ..self }
    }

    /// Where clients connect; port 0 takes a free one.
    pub fn listen(self, address: SocketAddr) -> Self {
        Self { listen: address, ..self }
    }

    /// Where the other nodes connect; port 0 takes a free one.
    pub fn peer_listen(self, address: SocketAddr) -> Self {
        Self { peer_listen: address, ..self }
    }

    /// Adds a node of the first cluster by its peer address, `host:port`. This node must be among them.
    pub fn peer(mut self, node_id: u32, address: impl Into<String>) -> Self {
        self.peers.push(PeerSpec { node: NodeId(node_id), address: address.into() });
        self
    }

    /// How many shards run, each on a thread of its own; 0 counts as 1.
    pub fn shards(self, shards: u16) -> Self {
        Self { shards: shards.max(1), ..self }
    }

    /// Data partitions of a fresh cluster (16 when not called), fixed from then on; 0 counts as 1.
    pub fn partitions(self, partitions: u32) -> Self {
        Self { partitions: Some(partitions.max(1)), ..self }
    }

    /// Accepts a data directory in memory, which loses everything with the power.
    pub fn allow_tmpfs(self) -> Self {
        Self { allow_tmpfs: true, ..self }
    }

    /// Raft's times.
    pub fn timing(self, timing: Timing) -> Self {
        Self { timing, ..self }
    }

    /// Checks the host and starts the node. It listens when this returns; it serves as soon as its peers are there.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(self) -> Result<Node, StartError> {
        for peer in &self.peers {
            peer.address.parse::<Address>().map_err(|why| StartError::Peer(peer.node.0, why))?;
        }
        let config = NodeConfig {
            node: NodeId(self.node_id),
            data_dir: self.data_dir.ok_or(StartError::NoDataDir)?,
            listen: self.listen,
            peer_listen: self.peer_listen,
            peers: self.peers,
            advertise: None,
            peer_advertise: None,
            shards: self.shards,
            cpus: Vec::new(),
            partitions: self.partitions,
            limits: Limits::default(),
            settings: Settings::default(),
            timing: self.timing,
            segment_bytes: 32 << 20,
            snapshot_log_bytes: 8 << 20,
            io_memory_bytes: 64 << 10,
            wall_clock_offset_ms: 0,
        };
        let troubles: Vec<String> =
            host::check(&Needs::of(&config, self.allow_tmpfs)).iter().filter_map(Finding::trouble).collect();
        if !troubles.is_empty() {
            return Err(StartError::Host(troubles));
        }
        Ok(Node { handle: node::start(config)? })
    }
}
