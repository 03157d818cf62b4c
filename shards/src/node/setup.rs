//! What each shard of a node is started with, on whatever executor.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};

use kahuna_protocol::meta::NodeInfo;
use kahuna_protocol::{ClusterId, ShardId};

use super::manifest::Manifest;
use super::runner::Setup;
use crate::config::NodeConfig;
use crate::env::Env;
use crate::lanes::lanes;

/// Numbers that nobody else may have: random on a real host, from the seed in a simulated one.
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
    let own_peer_address = manifest.peers.iter().find(|(node, _)| *node == config.node.0);
    let own_peer_address = own_peer_address.map(|(_, address)| address.clone()).filter(|address| !address.is_empty());
    let info = NodeInfo {
        node: config.node.0,
        incarnation: manifest.incarnation,
        client_address: config.advertise.clone().unwrap_or_else(|| config.listen.to_string()),
        peer_address: config.peer_advertise.clone().or(own_peer_address).unwrap_or(config.peer_listen.to_string()),
        shards: config.shards,
    };
    let progress: Arc<[AtomicU64]> = (0..config.shards).map(|_| AtomicU64::new(0)).collect();
    let setup = |(id, lanes)| Setup {
        id: ShardId(id),
        config: config.clone(),
        manifest: manifest.clone(),
        boot_id: numbers.boot_id,
        mint: numbers.mint,
        info: info.clone(),
        lanes,
        progress: progress.clone(),
        listening: listening.clone(),
        stop: stop.clone(),
    };
    (0..config.shards).zip(lanes::<E>(config.shards)).map(setup).collect()
}
