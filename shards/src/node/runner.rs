//! One shard of a node, from its start to its stop.
//!
//! ```text
//!   start ─▶ listen ─▶ shard 0: found or join the cluster ─▶ Founded ─▶ open the log, open its groups ─▶ serve
//!                                                               Meta ─▶ make the groups that are placed here
//!   Stop  ─▶ refuse new requests ─▶ hand leaderships over ─▶ answer what is in flight ─▶ close the log
//! ```

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kahuna_machine::Meta;
use kahuna_protocol::frame::archive_into;
use kahuna_protocol::kinds::{KIND_FOUNDING, REPLY};
use kahuna_protocol::meta::NodeInfo;
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{ClusterId, ErrorCode, ErrorReply, Header, ShardId};

use super::context::NodeContext;
use super::drain::drain;
use super::found::Bootstrap;
use super::known_addresses::{remember_addresses, set_members, set_recorded, set_told_addresses};
use super::manifest::Manifest;
use super::open::{GroupOpener, OPENING, Setup, follow_placements, open_shard};
use super::repair::LossCounter;
use crate::clock::Clock;
use crate::config::NodeConfig;
use crate::env::local::Signal;
use crate::env::{Env, Listener, Net, until_mark};
use crate::group::{Failover, RAFT_KINDS};
use crate::lanes::{ClusterNews, Control, Detached, Lanes, LifeNews, Moved};
use crate::peer::{
    LocalNode, PeerHandler, PeerIdentity, PeerLimits, PeerReplier, Peers, listen_to_peers, watch_nodes, watch_reach,
};
use crate::serve::{ControlHandler, listen_to_clients};
use crate::shard::Shard;

/// Between two counts of the shard's progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(50);

/// One shard of a node. Its acts are functions of `NodeContext`.
pub struct Runner<E: Env> {
    cx: Rc<NodeContext<E>>,
    opener: Rc<GroupOpener<E>>,
    losses: Rc<LossCounter<E>>,
    info: NodeInfo,
    failover: Failover<E>,
    /// Notified when the node stops.
    stopped: Signal,
}

impl<E: Env> Runner<E> {
    /// Begins to listen and to serve; `None` if it cannot bind: the error was sent to `listening`.
    pub fn start(setup: Setup<E>, disk: E::Disk) -> Option<Rc<Self>> {
        let Setup { id, config, manifest, boot_id, mint, info, lanes, progress, agreed, admission, listening, stop } =
            setup;
        let clock = Rc::new(Clock::agreeing(config.limits.max_clock_skew_ms, agreed));
        // From the first handshake on: a node that was wiped must not take this one for a pending one.
        let cluster = manifest.founding.as_ref().map_or(ClusterId::NONE, |founding| founding.cluster);
        let local = LocalNode {
            node: config.node,
            incarnation: manifest.incarnation,
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
        let incarnation = manifest.incarnation;
        let own_config = Rc::new(NodeConfig::clone(&config));
        let shard = Shard::new(id, incarnation, own_config, clock, peers.clone(), lanes.clone(), admission);
        if manifest.founding.is_some() {
            shard.set_waiting(OPENING);
        }
        let members = manifest.founding.as_ref().map_or(manifest.peers.len(), |founding| founding.members.len());
        let is_alone = members <= 1;
        let failover = Failover::new(peers.clone(), config.timing);
        let cx = Rc::new(NodeContext::new(shard.clone(), disk, config, manifest));
        let opener = Rc::new(GroupOpener::new(cx.clone()));
        let losses = Rc::new(LossCounter::new(cx.clone()));
        let stopped = Signal::default();
        let runner = Rc::new(Self { cx: cx.clone(), opener, losses, info, failover, stopped });
        peers.set_handler_of(RAFT_KINDS, shard.groups().clone());
        peers.set_handler(runner.clone());
        set_told_addresses(&cx);
        let listened = runner.listen();
        let failed = listened.is_err();
        // The starting thread waits for this; if it is gone, the process ends.
        let _ = listening.send(listened);
        if failed {
            return None;
        }
        E::spawn(shard.run_lanes(outlet, runner.clone()));
        E::spawn(remember_addresses(cx.clone()));
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
            E::spawn(found_cluster(cx, mint));
            let lanes = runner.cx.shard.lanes().clone();
            E::spawn(async move {
                if E::across_threads(stop.recv_async()).await.is_ok() {
                    lanes.broadcast(|| Control::Life(LifeNews::Stop));
                }
            });
        }
        E::spawn(count_progress::<E>(progress, usize::from(id.0)));
        Some(runner)
    }

    /// Returns once the node has stopped; the state of the shard's groups is durable then.
    pub async fn run(&self) {
        self.stopped.wait().await;
        drain(&self.cx).await;
    }

    fn founded(&self, manifest: Arc<Manifest>) {
        let cluster = manifest.founding.as_ref().map_or(ClusterId::NONE, |founding| founding.cluster);
        self.cx.set_manifest(manifest.clone());
        // On record before the node has a cluster: from then on a pending node that is not is refused.
        set_members(&self.cx);
        self.cx.shard.peers().set_cluster(cluster);
        E::spawn(open_shard(self.cx.clone(), self.opener.clone(), self.info.clone(), manifest));
    }

    fn meta_changed(&self, meta: Arc<Meta>) {
        set_recorded(&self.cx, &meta);
        self.cx.set_meta(meta.clone());
        if self.cx.is_opened() {
            E::spawn(follow_placements(self.cx.clone(), self.opener.clone(), meta));
        }
    }

    /// The shard it runs.
    pub fn shard(&self) -> &Rc<Shard<E>> {
        &self.cx.shard
    }

    fn listen(self: &Rc<Self>) -> std::io::Result<()> {
        let clients = <E::Net as Net>::listen(self.cx.config.listen, true)?;
        let peers = <E::Net as Net>::listen(self.cx.config.peer_listen, true)?;
        debug_assert!(clients.local_addr().is_ok());
        E::spawn(listen_to_clients(self.cx.shard.clone(), clients));
        let lanes = self.cx.shard.lanes().clone();
        E::spawn(listen_to_peers(self.cx.shard.peers().clone(), peers, move |to, connection, unread| {
            lanes.control(to, Control::Connection(Moved::Peer { connection, unread }));
        }));
        Ok(())
    }
}

/// Founds or joins the cluster, on shard 0; returns once every shard has the news.
async fn found_cluster<E: Env>(cx: Rc<NodeContext<E>>, mint: ClusterId) {
    let manifest = cx.manifest();
    let manifest = if manifest.founding.is_some() {
        manifest
    } else {
        let bootstrap = Bootstrap {
            peers: cx.shard.peers().clone(),
            disk: cx.disk.clone(),
            data_dir: cx.config.data_dir.clone(),
            manifest: Manifest::clone(&manifest),
            partitions: cx.config.partitions,
            settings: cx.config.settings,
            log_options: cx.log_options(),
            mint,
            shard: cx.shard.clone(),
        };
        Arc::new(bootstrap.run().await)
    };
    cx.shard.lanes().broadcast(|| Control::Life(LifeNews::Founded(manifest.clone())));
}

/// Shows the other nodes that the shard's tasks are scheduled.
async fn count_progress<E: Env>(progress: Arc<[AtomicU64]>, shard: usize) {
    loop {
        progress[shard].fetch_add(1, Ordering::Relaxed);
        E::sleep(until_mark(E::boot_clock(), PROGRESS_EVERY)).await;
    }
}

impl<E: Env> ControlHandler<E> for Runner<E> {
    fn adopt_peer(&self, connection: Detached<E>, unread: Bytes) {
        self.cx.shard.peers().adopt(connection, unread);
    }

    fn on_cluster(self: Rc<Self>, news: ClusterNews) {
        match news {
            ClusterNews::Node(event) => self.failover.on_event(event, self.cx.shard.groups().replicas()),
            ClusterNews::Meta(meta) => self.meta_changed(meta),
            ClusterNews::Leader { .. } | ClusterNews::Clocks(_) => {}
        }
    }

    fn on_life(self: Rc<Self>, news: LifeNews) {
        match news {
            LifeNews::Founded(manifest) => self.founded(manifest),
            LifeNews::Lost { log_of, counted } => E::spawn(self.losses.clone().count(log_of, counted)),
            LifeNews::Manifest(manifest) => self.cx.set_manifest(manifest),
            LifeNews::Stop => {
                self.cx.set_stopping();
                self.stopped.notify();
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
            return self.cx.shard.clone().on_frame(from, prelude, header, body, reply);
        }
        match &self.cx.manifest().founding {
            Some(founding) => reply.send(KIND_FOUNDING | REPLY, |out| archive_into(founding, out)),
            None => reply.refuse(&ErrorReply::new(ErrorCode::NotReady, "this node does not belong to a cluster yet")),
        }
    }
}
