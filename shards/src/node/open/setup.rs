//! The arguments of each shard of a node, on any executor.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};

use kahuna_protocol::meta::NodeInfo;
use kahuna_protocol::{ClusterId, ShardId};

use crate::admission::{Admission, own_files};
use crate::clock::AgreedClock;
use crate::config::{DEFAULT_PARTITIONS, NodeConfig};
use crate::env::Env;
use crate::lanes::{LaneEnds, lanes};
use crate::node::manifest::Manifest;

/// What a shard's thread is started with.
pub struct Setup<E: Env> {
    /// Which shard.
    pub id: ShardId,
    /// Configuration that all shards of the node share.
    pub config: Arc<NodeConfig>,
    /// What the data directory is.
    pub manifest: Arc<Manifest>,
    /// Random, the same for all shards of this process.
    pub boot_id: u64,
    /// The cluster id that this node would mint.
    pub mint: ClusterId,
    /// Where clients and peers reach this node, as it is announced to the others.
    pub info: NodeInfo,
    /// The lanes to the other shards.
    pub lanes: LaneEnds<E>,
    /// One counter per shard, which the shard raises as it runs; every heartbeat carries them to the other nodes.
    pub progress: Arc<[AtomicU64]>,
    /// The clock that the nodes agree on: shard 0 judges it.
    pub agreed: Arc<AgreedClock>,
    /// The clients of all shards.
    pub admission: Arc<Admission>,
    /// Gets one message: the shard listens, or why it cannot.
    pub listening: mpsc::Sender<std::io::Result<()>>,
    /// Gets a message when the node shall stop; shard 0 passes it on.
    pub stop: flume::Receiver<()>,
}

/// Numbers that must be unique: random on a real host, from the seed in a simulated one.
#[derive(Debug, Clone, Copy)]
pub struct BootNumbers {
    /// Names this run of the node.
    pub boot_id: u64,
    /// The cluster id that this node would mint.
    pub mint: ClusterId,
}

/// One setup per shard, in order. `config` holds the addresses with the ports that were taken, and as many shards as the
/// manifest's logs are cut for.
pub fn setups<E: Env>(
    config: Arc<NodeConfig>,
    manifest: Arc<Manifest>,
    numbers: BootNumbers,
    listening: &mpsc::Sender<std::io::Result<()>>,
    stop: &flume::Receiver<()>,
) -> Vec<Setup<E>> {
    let info = NodeInfo {
        node: config.node,
        incarnation: manifest.incarnation,
        client_address: config.advertise.clone().unwrap_or_else(|| config.listen.to_string()),
        peer_address: own_peer_address(&config, &manifest),
        shards: config.shards,
    };
    let progress: Arc<[AtomicU64]> = (0..config.shards).map(|_| AtomicU64::new(0)).collect();
    let own = files_of(&config, &manifest);
    let admission = Arc::new(Admission::new(config.shards, E::most_open_files(), own));
    let agreed = Arc::new(AgreedClock::default());
    let setup = |(id, lanes)| Setup {
        id: ShardId(id),
        config: config.clone(),
        manifest: manifest.clone(),
        boot_id: numbers.boot_id,
        mint: numbers.mint,
        info: info.clone(),
        lanes,
        progress: progress.clone(),
        agreed: agreed.clone(),
        admission: admission.clone(),
        listening: listening.clone(),
        stop: stop.clone(),
    };
    (0..config.shards).zip(lanes::<E>(config.shards)).map(setup).collect()
}

/// Descriptors that the node needs for its own files and links.
pub fn files_of(config: &NodeConfig, manifest: &Manifest) -> u64 {
    let founded = manifest.founding.as_ref().map(|founding| founding.partitions);
    let partitions = founded.or(config.partitions).unwrap_or(DEFAULT_PARTITIONS);
    own_files(config.shards, manifest.peers.len(), partitions)
}

/// The peer address that this node announces: the flags of this start go before the list of the founding.
///
/// Its own entry in a list of peers may be a name, or the address of something in front of the node, so it need not be what
/// the node listens on. It is out of date if it names the address that the node listens on, with another port; that of the
/// founding also if the port is another one.
fn own_peer_address(config: &NodeConfig, manifest: &Manifest) -> String {
    let listens = config.peer_listen;
    if let Some(advertised) = &config.peer_advertise {
        return advertised.clone();
    }
    let was_left = |address: &str| {
        address.parse::<SocketAddr>().is_ok_and(|listed| listed.ip() == listens.ip() && listed.port() != listens.port())
    };
    if let Some(told) = config.peers.iter().find(|peer| peer.node == config.node)
        && !was_left(&told.address)
    {
        return told.address.clone();
    }
    let still_there = |address: &str| match address.parse::<SocketAddr>() {
        Ok(listed) => listed.port() == listens.port() && (listed.ip() == listens.ip() || listens.ip().is_unspecified()),
        Err(_) => address.rsplit_once(':').is_some_and(|(_, port)| port == listens.port().to_string()),
    };
    let listed = manifest.peers.iter().find(|(node, address)| *node == config.node && still_there(address));
    listed.map_or_else(|| listens.to_string(), |(_, address)| address.clone())
}
