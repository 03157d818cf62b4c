//! `kahuna serve`: one durable node.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use kahuna_protocol::meta::Settings;
use kahuna_protocol::{Limits, NodeId};
use kahuna_shards::config::{NodeConfig, PeerSpec, Timing};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The flags of `serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// This node's number.
    #[arg(long, default_value_t = 1)]
    pub node_id: u32,
    /// Where the data lives.
    #[arg(long)]
    pub data_dir: PathBuf,
    /// Where clients connect.
    #[arg(long, default_value = "127.0.0.1:2070")]
    pub listen: SocketAddr,
    /// Where peers connect.
    #[arg(long, default_value = "127.0.0.1:2071")]
    pub peer_listen: SocketAddr,
    /// All nodes of the first cluster, `id=host:port,...`.
    #[arg(long, value_delimiter = ',')]
    pub peers: Vec<String>,
    /// Executors.
    #[arg(long, default_value_t = 1)]
    pub shards: u16,
    /// Data partitions of a fresh cluster.
    #[arg(long)]
    pub partitions: Option<u32>,
    /// Size of a log segment.
    #[arg(long, default_value = "32MiB")]
    pub segment_size: String,
    /// Snapshot when the log is longer.
    #[arg(long, default_value = "8MiB")]
    pub snapshot_log_size: String,
}

fn bytes(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.len() - 3);
    let unit = match unit {
        "KiB" => 1 << 10,
        _ => 1 << 20,
    };
    number.parse::<u64>().expect("a number") * unit
}

/// Runs a node until a signal ends it.
pub fn run(args: &ServeArgs) {
    let peers = args.peers.iter().map(|peer| {
        let (node, address) = peer.split_once('=').expect("id=host:port");
        PeerSpec { node: NodeId(node.parse().expect("a number")), address: address.into() }
    });
    let config = NodeConfig {
        node: NodeId(args.node_id),
        data_dir: args.data_dir.clone(),
        listen: args.listen,
        peer_listen: args.peer_listen,
        peers: peers.collect(),
        advertise: None,
        peer_advertise: None,
        shards: args.shards,
        cpus: Vec::new(),
        partitions: args.partitions,
        limits: Limits::default(),
        settings: Settings::default(),
        timing: Timing::default(),
        segment_bytes: bytes(&args.segment_size),
        snapshot_log_bytes: bytes(&args.snapshot_log_size),
        io_memory_bytes: 64 << 10,
        wall_clock_offset_ms: 0,
    };
    let node = kahuna_shards::node::start(config).unwrap_or_else(|error| panic!("{error}"));
    println!("listening on {}", node.client_address());
    let mut signals = Signals::new([SIGINT, SIGTERM]).expect("signals");
    std::thread::spawn(move || {
        signals.forever().next();
        node.begin_shutdown();
        node.wait();
        std::process::exit(0);
    })
    .join()
    .expect("the waiting thread ends the process");
}
