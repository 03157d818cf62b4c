//! One shard of a node, from its start to its stop.
//!
//! ```text
//!   start ─▶ listen ─▶ shard 0: found or join the cluster ─▶ Founded ─▶ open the log, open its groups ─▶ serve
//!                                                               Meta ─▶ make the groups that are placed here
//!   Stop  ─▶ refuse new requests ─▶ hand leaderships over ─▶ answer what is in flight ─▶ close the log
//! ```

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use kahuna_machine::Meta;
use kahuna_protocol::frame::archive_into;
use kahuna_protocol::meta::NodeInfo;
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{ClusterId, ErrorCode, ErrorReply, GroupId, Header, Incarnation, NodeId, ShardId};
use openraft::rt::Mutex as _;

use super::addresses::{keep_addresses, recall_addresses};
use super::bootstrap::{Bootstrap, KIND_FOUNDING};
use super::groups::OPENING;
use super::manifest::Manifest;
use crate::admission::Admission;
use crate::clock::{AgreedClock, Clock};
use crate::config::NodeConfig;
use crate::env::local::{LocalMutex, Signal};
use crate::env::{Env, Listener, Net};
use crate::group::{Failover, RAFT_KINDS};
use crate::lanes::{ClusterNews, Control, Detached, LaneEnds, Lanes, LifeNews, Moved};
use crate::peer::{
    AddressSource, LocalNode, PeerHandler, PeerIdentity, PeerLimits, PeerReplier, Peers, listen_to_peers, watch_nodes,
    watch_reach,
};
use crate::serve::{ControlHandler, listen_to_clients};
use crate::shard::Shard;

/// Between two counts of the shard's progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(50);

/// What a shard's thread is started with.
pub struct Setup<E: Env> {
    /// Which shard.
    pub id: ShardId,
    /// What the node was told.
    pub config: Arc<NodeConfig>,
    /// What the data directory is.
    pub manifest: Arc<Manifest>,
    /// Random, the same for all shards of this process.
    pub boot_id: u64,
    /// The cluster id that this node would mint.
    pub mint: ClusterId,
    /// Where clients and peers reach this node, as the others shall be told.
    pub info: NodeInfo,
    /// The lanes to the other shards.
    pub lanes: LaneEnds<E>,
    /// One counter per shard, each counted up by its own shard as it runs, told to other nodes with every heartbeat.
    pub progress: Arc<[AtomicU64]>,
    /// The clock that the nodes agree on: shard 0 judges it.
    pub agreed: Arc<AgreedClock>,
    /// The clients of all shards.
    pub admission: Arc<Admission>,
    /// Told once, when the shard listens, or why it cannot.
    pub listening: mpsc::Sender<std::io::Result<()>>,
    /// Says when the node shall stop; shard 0 passes it on.
    pub stop: flume::Receiver<()>,
}

/// One shard of a node.
pub struct Runner<E: Env> {
    pub(super) shard: Rc<Shard<E>>,
    pub(super) disk: E::Disk,
    pub(super) config: Arc<NodeConfig>,
    pub(super) manifest: RefCell<Arc<Manifest>>,
    /// One loss is counted after the other.
    pub(super) counting: LocalMutex<()>,
    pub(super) info: NodeInfo,
    failover: Failover<E>,
    pub(super) booted: Duration,
    /// Groups whose replicas are open or being opened.
    pub(super) made: RefCell<BTreeSet<GroupId>>,
    /// What the meta group said last. Placements are followed only once the log's own groups are open.
    pub(super) meta: RefCell<Option<Arc<Meta>>>,
    pub(super) opened: Cell<bool>,
    pub(super) stopping: Cell<bool>,
    pub(super) stop: Signal,
    pub(super) log_closed: Signal,
}

impl<E: Env> Runner<E> {
    /// Begins to listen and to serve; `None` if that cannot be, which was said then.
    pub fn start(setup: Setup<E>, disk: E::Disk) -> Option<Rc<Self>> {
        let Setup { id, config, manifest, boot_id, mint, info, lanes, progress, agreed, admission, listening, stop } =
            setup;
        let clock = Rc::new(Clock::agreeing(config.limits.max_clock_skew_ms, agreed));
        // From the first handshake on: a node that was wiped must not take this one for a pending one.
        let cluster = manifest.founding.as_ref().map_or(ClusterId::NONE, |founding| ClusterId(founding.cluster));
        let local = LocalNode {
            node: config.node,
            incarnation: Incarnation(manifest.incarnation),
            boot_id,
            shard: id,
            shards: config.shards,
            client_address: info.client_address.clone(),
            peer_address: info.peer_address.clone(),
            cluster,
            peer_set: manifest.peers.clone(),
        };
        let peers = Peers::new(local, clock.clone(), config.timing, PeerLimits::for_clients(&config.limits));
        let (lanes, outlet) = Lanes::open(lanes);
        let incarnation = Incarnation(manifest.incarnation);
        let own_config = Rc::new(NodeConfig::clone(&config));
        let shard = Shard::new(id, incarnation, own_config, clock, peers.clone(), lanes.clone(), admission);
        if manifest.founding.is_some() {
            shard.set_waiting(OPENING);
        }
        let members = manifest.founding.as_ref().map_or(manifest.peers.len(), |founding| founding.members.len());
        let is_alone = members <= 1;
        let runner = Rc::new(Self {
            shard: shard.clone(),
            disk,
            manifest: RefCell::new(manifest),
            counting: LocalMutex::new(()),
            info,
            failover: Failover::new(peers.clone(), config.timing),
            booted: E::boot_clock(),
            made: RefCell::default(),
            meta: RefCell::default(),
            opened: Cell::new(false),
            stopping: Cell::new(false),
            stop: Signal::default(),
            log_closed: Signal::default(),
            config,
        });
        peers.set_handler_of(RAFT_KINDS, runner.shard.groups().clone());
        peers.set_handler(runner.clone());
        runner.set_told_addresses();
        let listened = runner.listen();
        let failed = listened.is_err();
        // The starting thread waits for this; if it is gone, the process ends.
        let _ = listening.send(listened);
        if failed {
            return None;
        }
        E::spawn(shard.run_lanes(outlet, runner.clone()));
        E::spawn(runner.clone().remember_addresses());
        if id == ShardId(0) {
            peers.set_progress(progress.clone());
            E::spawn(watch_reach(peers.clone()));
            let heralds = lanes.clone();
            E::spawn(watch_nodes(
                peers,
                is_alone,
                move |event| lanes.broadcast(|| Control::Cluster(ClusterNews::Node(event))),
                move |note| heralds.broadcast(|| Control::Cluster(ClusterNews::Clocks(note.clone()))),
            ));
            E::spawn(runner.clone().found(mint));
            let lanes = runner.shard.lanes().clone();
            E::spawn(async move {
                if stop.recv_async().await.is_ok() {
                    lanes.broadcast(|| Control::Life(LifeNews::Stop));
                }
            });
        }
        E::spawn(count_progress::<E>(progress, usize::from(id.0)));
        Some(runner)
    }

    /// Returns once the node has stopped; the state of the shard's groups is durable then.
    pub async fn run(&self) {
        self.stop.wait().await;
        self.drain().await;
    }

    /// What it runs.
    pub fn shard(&self) -> &Rc<Shard<E>> {
        &self.shard
    }

    /// Where the operator says that the other nodes are, when the cluster was founded and now.
    fn set_told_addresses(&self) {
        self.set_members();
        let manifest = self.manifest.borrow();
        let (told, strangers): (Vec<_>, Vec<_>) =
            self.config.peers.iter().partition(|peer| manifest.peers.iter().any(|(listed, _)| *listed == peer.node.0));
        let told = told.into_iter().map(|peer| (peer.node, None, peer.address.clone())).collect();
        self.shard.peers().set_addresses(AddressSource::Told, told);
        if self.shard.id() == ShardId(0) {
            for peer in strangers {
                crate::say!(
                    "node {}: --peers lists node {} at {}, which is no member of the cluster; left out",
                    self.config.node,
                    peer.node,
                    peer.address
                );
            }
        }
    }

    /// Takes up where the other nodes were last. Shard 0, which dials them all, keeps that.
    async fn remember_addresses(self: Rc<Self>) {
        let (peers, data_dir) = (self.shard.peers().clone(), self.config.data_dir.clone());
        let keeps = self.shard.id() == ShardId(0);
        let kept = recall_addresses(&peers, &self.disk, &data_dir, keeps).await;
        if keeps {
            keep_addresses(peers, self.disk.clone(), data_dir, kept).await;
        }
    }

    /// Who was listed when the cluster was founded, and the data directory of each as soon as that is founded.
    fn set_members(&self) {
        let manifest = self.manifest.borrow();
        let members = manifest.founding.as_ref().map(|founding| &founding.members);
        let incarnation_of = |node: u32| {
            let member = members.into_iter().flatten().find(|member| member.node == node);
            member.map(|member| Incarnation(member.incarnation))
        };
        let node = |node: u32, address: &String| (NodeId(node), incarnation_of(node), address.clone());
        let listed = manifest.peers.iter().map(|(number, address)| node(*number, address)).collect();
        self.shard.peers().set_addresses(AddressSource::Listed, listed);
    }

    fn listen(self: &Rc<Self>) -> std::io::Result<()> {
        let clients = <E::Net as Net>::listen(self.config.listen, true)?;
        let peers = <E::Net as Net>::listen(self.config.peer_listen, true)?;
        debug_assert!(clients.local_addr().is_ok());
        E::spawn(listen_to_clients(self.shard.clone(), clients));
        let lanes = self.shard.lanes().clone();
        E::spawn(listen_to_peers(self.shard.peers().clone(), peers, move |to, connection, unread| {
            lanes.control(to, Control::Connection(Moved::Peer { connection, unread }));
        }));
        Ok(())
    }

    /// Shard 0: returns once every shard was told that the node belongs to a cluster.
    async fn found(self: Rc<Self>, mint: ClusterId) {
        let manifest = self.manifest.borrow().clone();
        let manifest = if manifest.founding.is_some() {
            manifest
        } else {
            let bootstrap = Bootstrap {
                peers: self.shard.peers().clone(),
                disk: self.disk.clone(),
                data_dir: self.config.data_dir.clone(),
                manifest: Manifest::clone(&manifest),
                partitions: self.config.partitions,
                settings: self.config.settings,
                log_options: self.log_options(),
                mint,
                shard: self.shard.clone(),
            };
            Arc::new(bootstrap.run().await)
        };
        self.shard.lanes().broadcast(|| Control::Life(LifeNews::Founded(manifest.clone())));
    }

    fn founded(self: Rc<Self>, manifest: Arc<Manifest>) {
        let cluster = manifest.founding.as_ref().map_or(ClusterId::NONE, |founding| ClusterId(founding.cluster));
        *self.manifest.borrow_mut() = manifest.clone();
        // On record before the node has a cluster: from then on a pending node that is not is refused.
        self.set_members();
        self.shard.peers().set_cluster(cluster);
        E::spawn(self.open_log(manifest));
    }

    fn meta_changed(self: Rc<Self>, meta: Arc<Meta>) {
        let known = meta.nodes.iter().filter(|info| info.node != self.config.node.0);
        let addresses =
            known.map(|info| (NodeId(info.node), Some(Incarnation(info.incarnation)), info.peer_address.clone()));
        self.shard.peers().set_addresses(AddressSource::Recorded, addresses.collect());
        *self.meta.borrow_mut() = Some(meta.clone());
        if self.opened.get() {
            E::spawn(self.follow_placements(meta));
        }
    }
}

/// Shows the other nodes that the shard's tasks get their turns.
async fn count_progress<E: Env>(progress: Arc<[AtomicU64]>, shard: usize) {
    loop {
        progress[shard].fetch_add(1, Ordering::Relaxed);
        E::sleep(PROGRESS_EVERY).await;
    }
}

impl<E: Env> ControlHandler<E> for Runner<E> {
    fn adopt_peer(&self, connection: Detached<E>, unread: Bytes) {
        self.shard.peers().adopt(connection, unread);
    }

    fn on_cluster(self: Rc<Self>, news: ClusterNews) {
        match news {
            ClusterNews::Node(event) => self.failover.on_event(event, self.shard.groups().replicas()),
            ClusterNews::Meta(meta) => self.meta_changed(meta),
            ClusterNews::Leader { .. } | ClusterNews::Clocks(_) => {}
        }
    }

    fn on_life(self: Rc<Self>, news: LifeNews) {
        match news {
            LifeNews::Founded(manifest) => self.founded(manifest),
            LifeNews::Lost { log_of, counted } => E::spawn(self.count_loss(log_of, counted)),
            LifeNews::Manifest(manifest) => *self.manifest.borrow_mut() = manifest,
            LifeNews::Stop => {
                self.stopping.set(true);
                self.stop.notify();
            }
        }
    }
}

impl<E: Env> PeerHandler for Runner<E> {
    fn on_frame(
        self: Rc<Self>,
        from: PeerIdentity,
        prelude: PeerPrelude,
        header: Header,
        body: Bytes,
        reply: PeerReplier,
    ) {
        if header.kind != KIND_FOUNDING {
            return self.shard.clone().on_frame(from, prelude, header, body, reply);
        }
        match &self.manifest.borrow().founding {
            Some(founding) => reply.send(KIND_FOUNDING | 0x8000, |out| archive_into(founding, out)),
            None => reply.refuse(&ErrorReply::new(ErrorCode::NotReady, "this node does not belong to a cluster yet")),
        }
    }
}
