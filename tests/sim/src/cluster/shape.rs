//! How large a cluster is, and how small its limits are.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use kahuna_protocol::{Limits, NodeId as NodeNumber, meta::Settings};
use kahuna_shards::config::{NodeConfig, PeerSpec, Timing};

use crate::{DiskOptions, exec::NodeId};

/// Where every node keeps its data; each has a disk of its own.
pub(super) const DATA_DIR: &str = "/data";
const CLIENT_PORT: u16 = 2070;
const PEER_PORT: u16 = 2071;

/// The size of a cluster, and the sizes that decide how soon its logs are cut.
#[derive(Debug, Clone)]
pub struct Shape {
    /// How many nodes, 1 to 5; they are numbered from 1.
    pub nodes: u64,
    /// Data partitions.
    pub partitions: u32,
    /// Length of a log segment in bytes.
    pub segment_bytes: u64,
    /// A group takes a snapshot when its log since the last one is longer than this, in bytes.
    pub snapshot_log_bytes: u64,
    /// The least and the most that an operation of a disk takes, in nanoseconds of virtual time.
    pub disk_nanos: (u64, u64),
    /// What every replica agrees on.
    pub settings: Settings,
}

impl Shape {
    /// A cluster of `nodes` with small limits: segments of 64 KiB, a snapshot every 8 KiB of log, four revisions a key.
    pub fn small(nodes: u64) -> Self {
        Self {
            nodes,
            partitions: 3,
            segment_bytes: 64 << 10,
            snapshot_log_bytes: 8 << 10,
            disk_nanos: DiskOptions::default().latency_nanos,
            settings: Settings { history_revisions: 4, ..Settings::default() },
        }
    }

    /// The numbers of the nodes.
    pub fn numbers(&self) -> std::ops::RangeInclusive<NodeId> {
        1..=self.nodes
    }

    /// Where clients reach the nodes.
    pub fn endpoints(&self) -> Vec<String> {
        self.numbers().map(|node| address(node, CLIENT_PORT).to_string()).collect()
    }

    /// Where every node listens for its peers at first.
    pub(super) fn peer_ports(&self) -> BTreeMap<NodeId, u16> {
        self.numbers().map(|node| (node, PEER_PORT)).collect()
    }

    /// What a node is told that listens for its peers on `peer_port`; `listed` are the ports of its `--peers`.
    pub(super) fn config(
        &self,
        node: NodeId,
        shards: u16,
        peer_port: u16,
        listed: &BTreeMap<NodeId, u16>,
    ) -> NodeConfig {
        let peers = listed
            .iter()
            .map(|(&peer, &port)| PeerSpec { node: number(peer), address: address(peer, port).to_string() });
        let max_value_bytes = u32::try_from(self.segment_bytes / 8).expect("segments are small");
        let limits = Limits { max_value_bytes, max_frame_bytes: max_value_bytes + (64 << 10), ..Limits::default() };
        NodeConfig {
            node: number(node),
            data_dir: PathBuf::from(DATA_DIR),
            listen: address(node, CLIENT_PORT),
            peer_listen: address(node, peer_port),
            peers: if self.nodes == 1 { Vec::new() } else { peers.collect() },
            advertise: None,
            peer_advertise: None,
            shards,
            cpus: Vec::new(),
            partitions: Some(self.partitions),
            limits,
            settings: self.settings,
            timing: Timing::default(),
            segment_bytes: self.segment_bytes,
            snapshot_log_bytes: self.snapshot_log_bytes,
            io_memory_bytes: 0,
            wall_clock_offset_ms: 0,
        }
    }
}

fn number(node: NodeId) -> NodeNumber {
    NodeNumber(u32::try_from(node).expect("a cluster is small"))
}

fn address(node: NodeId, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(node).expect("a cluster is small")], port))
}
