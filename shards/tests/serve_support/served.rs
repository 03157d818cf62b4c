//! Shards without a node around them.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use kahuna_protocol::meta::Settings;
use kahuna_protocol::{ClusterId, Incarnation, Limits, NodeId, ShardId};
use kahuna_shards::admission::Admission;
use kahuna_shards::clock::Clock;
use kahuna_shards::config::{NodeConfig, Timing};
use kahuna_shards::env::{Env, Listener, Net};
use kahuna_shards::lanes::{ClusterNews, Detached, Lanes, LifeNews, lanes};
use kahuna_shards::linux::{Linux, ShardHandle, ShardOptions, Tcp, spawn_shard};
use kahuna_shards::peer::{LocalNode, PeerLimits, Peers};
use kahuna_shards::serve::{ControlHandler, listen_to_clients};
use kahuna_shards::shard::Shard;
use tempfile::TempDir;

use super::client::PATIENCE;

pub const INCARNATION: Incarnation = Incarnation(77);

/// Shards on one executor that serve clients, without cluster and without groups unless `prepare` adds them.
pub struct Served {
    pub address: SocketAddr,
    stop: flume::Sender<()>,
    thread: Option<ShardHandle<()>>,
    /// Where logs are; it goes when nobody writes there any more.
    pub dir: Option<TempDir>,
}

impl Drop for Served {
    fn drop(&mut self) {
        // A thread that ended by itself has dropped the other end.
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}

pub fn config(shards: u16, limits: Limits) -> NodeConfig {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    NodeConfig {
        node: NodeId(1),
        data_dir: "unused".into(),
        listen: any,
        peer_listen: any,
        peers: Vec::new(),
        advertise: None,
        peer_advertise: None,
        shards,
        cpus: Vec::new(),
        partitions: None,
        limits,
        settings: Settings::default(),
        timing: Timing::default(),
        segment_bytes: 1 << 20,
        snapshot_log_bytes: 1 << 20,
        io_memory_bytes: 64 << 10,
        wall_clock_offset_ms: 0,
    }
}

/// Serves with `shards` shards; `prepare` runs on their thread before the first client is accepted.
pub fn serve<P, F>(shards: u16, limits: Limits, prepare: P) -> Served
where
    P: FnOnce(Vec<Rc<Shard<Linux>>>) -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let (stop, stopped) = flume::bounded::<()>(1);
    let (listening, address) = mpsc::channel();
    let start = move || async move {
        let config = config(shards, limits);
        let admission = Arc::new(Admission::new(shards, None, 0));
        let all: Vec<_> = lanes::<Linux>(shards)
            .into_iter()
            .zip(0..)
            .map(|(ends, id)| {
                let clock = Rc::new(Clock::new(config.limits.max_clock_skew_ms));
                let local = LocalNode {
                    node: NodeId(1),
                    incarnation: INCARNATION,
                    boot_id: 1,
                    shard: ShardId(id),
                    shards,
                    client_address: String::new(),
                    peer_address: String::new(),
                    cluster: ClusterId::NONE,
                    peer_set: Vec::new(),
                };
                let limits = PeerLimits::for_clients(&config.limits);
                let peers = Peers::new(local, clock.clone(), config.timing, limits);
                let (lanes, outlet) = Lanes::open(ends);
                let config = Rc::new(config.clone());
                let shard = Shard::new(ShardId(id), INCARNATION, config, clock, peers, lanes, admission.clone());
                let running = shard.clone();
                Linux::spawn(running.run_lanes(outlet, Rc::new(Alone)));
                shard
            })
            .collect();
        prepare(all.clone()).await;
        // The first shard alone accepts, so that a wish for another one is always a hand-over.
        let listener = Tcp::listen(config.listen, false).expect("a free port");
        listening.send(listener.local_addr().expect("bound")).expect("the test waits for the address");
        Linux::spawn(listen_to_clients(all[0].clone(), listener));
        let _ = Linux::across_threads(stopped.recv_async()).await;
    };
    let thread = spawn_shard(ShardOptions::new(0), start).expect("this host runs shards");
    let address = address.recv_timeout(PATIENCE).expect("the shards listen");
    Served { address, stop, thread: Some(thread), dir: None }
}

/// Asks a shard that runs elsewhere for a number.
pub struct Gauge(flume::Sender<flume::Sender<usize>>);

/// The shard's end of a [`Gauge`].
pub struct Gauged(flume::Receiver<flume::Sender<usize>>);

impl Gauged {
    /// Answers until nobody asks any more.
    pub async fn answer(self, number: impl Fn() -> usize) {
        while let Ok(asker) = Linux::across_threads(self.0.recv_async()).await {
            // Whoever asked waits.
            let _ = asker.send(number());
        }
    }
}

impl Gauge {
    pub fn new() -> (Self, Gauged) {
        let (ask, asked) = flume::unbounded();
        (Self(ask), Gauged(asked))
    }

    pub fn read(&self) -> usize {
        let (asker, answer) = flume::bounded(1);
        self.0.send(asker).expect("the shard runs");
        answer.recv_timeout(PATIENCE).expect("the shard answers")
    }

    /// Waits until the number is as `wanted`.
    pub fn until(&self, what: &str, wanted: impl Fn(usize) -> bool) {
        let end = std::time::Instant::now() + PATIENCE;
        while !wanted(self.read()) {
            assert!(std::time::Instant::now() < end, "never: {what}; it is {}", self.read());
            std::thread::yield_now();
        }
    }
}

/// A node's own affairs, of which these shards have none.
struct Alone;

impl ControlHandler<Linux> for Alone {
    fn adopt_peer(&self, _: Detached<Linux>, _: Bytes) {}
    fn on_cluster(self: Rc<Self>, _: ClusterNews) {}
    fn on_life(self: Rc<Self>, _: LifeNews) {}
}
