//! One shard of a node, from its start to its stop.
//!
//! ```text
//!   start ─▶ listen ─▶ shard 0: found or join the cluster ─▶ Founded ─▶ open the log, open its groups ─▶ serve
//!                                                               Meta ─▶ make the groups that are placed here
//!   Stop  ─▶ refuse new requests ─▶ hand leaderships over ─▶ answer what is in flight ─▶ close the log
//! ```

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
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
use kahuna_wal::{GroupLog, Log, LogError, LogIdentity, LogOptions, OpenError, Record};

use super::bootstrap::{Bootstrap, KIND_FOUNDING};
use super::creation::Creation;
use super::duties::Duties;
use super::manifest::Manifest;
use crate::clock::Clock;
use crate::config::NodeConfig;
use crate::env::{Env, ExitCode, Listener, Net};
use crate::group::Group;
use crate::lanes::{Control, Detached, LaneEnds, Lanes};
use crate::peer::{
    Failover, LocalNode, NodeEvent, PeerHandler, PeerIdentity, PeerLimits, PeerReplier, Peers, listen_to_peers,
    watch_nodes,
};
use crate::raft::{Replica, ReplicaContext};
use crate::serve::{Signal, listen_to_clients};
use crate::shard::{ControlHandler, Shard};

/// Between two looks at the log's idleness and at the groups that pin it.
const LOG_CARE_EVERY: Duration = Duration::from_millis(100);
/// Between two counts of the shard's progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(50);
/// How much later than the longest election timeout a restarted node votes again: the rates of two clocks differ.
const BOOT_MARGIN: Duration = Duration::from_millis(50);

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
    /// Told once, when the shard listens, or why it cannot.
    pub listening: mpsc::Sender<std::io::Result<()>>,
    /// Says when the node shall stop; shard 0 passes it on.
    pub stop: flume::Receiver<()>,
}

/// One shard of a node.
pub struct Runner<E: Env> {
    pub(super) shard: Rc<Shard<E>>,
    disk: E::Disk,
    config: Arc<NodeConfig>,
    manifest: RefCell<Arc<Manifest>>,
    info: NodeInfo,
    failover: Failover<E>,
    booted: Duration,
    /// Groups whose replicas are open or being opened.
    made: RefCell<std::collections::BTreeSet<GroupId>>,
    /// What the meta group said last. Placements are followed only once the log's own groups are open.
    meta: RefCell<Option<Arc<Meta>>>,
    opened: Cell<bool>,
    pub(super) stopping: Cell<bool>,
    pub(super) stop: Signal,
    log_closed: Signal,
}

impl<E: Env> Runner<E> {
    /// Runs the shard until the node stops; its groups' state is durable then.
    pub async fn run(setup: Setup<E>, disk: E::Disk) {
        let Setup { id, config, manifest, boot_id, mint, info, lanes, progress, listening, stop } = setup;
        let clock = Rc::new(Clock::new(config.limits.max_clock_skew_ms));
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
        let shard =
            Shard::new(id, incarnation, Rc::new(NodeConfig::clone(&config)), clock, peers.clone(), lanes.clone());
        let runner = Rc::new(Self {
            shard: shard.clone(),
            disk,
            manifest: RefCell::new(manifest.clone()),
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
        peers.set_handler(runner.clone());
        let addresses = manifest.peers.iter().map(|(node, address)| (NodeId(*node), None, address.clone()));
        peers.set_addresses(addresses.filter(|(node, _, _)| *node != runner.config.node).collect());
        let listened = runner.listen();
        let failed = listened.is_err();
        // The starting thread waits for this; if it is gone, the process ends.
        let _ = listening.send(listened);
        if failed {
            return;
        }
        E::spawn(shard.clone().run_lanes(outlet, runner.clone()));
        if id == ShardId(0) {
            let lanes = lanes.clone();
            peers.set_progress(progress.clone());
            E::spawn(watch_nodes(peers, move |event| lanes.broadcast(|| Control::NodeEvent(event))));
            E::spawn(runner.clone().found(mint));
            let lanes = runner.shard.lanes.clone();
            E::spawn(async move {
                if stop.recv_async().await.is_ok() {
                    lanes.broadcast(|| Control::Stop);
                }
            });
        }
        E::spawn(count_progress::<E>(progress, usize::from(id.0)));
        runner.stop.wait().await;
        runner.drain().await;
    }

    fn listen(self: &Rc<Self>) -> std::io::Result<()> {
        let clients = <E::Net as Net>::listen(self.config.listen, true)?;
        let peers = <E::Net as Net>::listen(self.config.peer_listen, true)?;
        debug_assert!(clients.local_addr().is_ok());
        E::spawn(listen_to_clients(self.shard.clone(), clients));
        let lanes = self.shard.lanes.clone();
        E::spawn(listen_to_peers(self.shard.peers.clone(), peers, move |to, connection, unread| {
            lanes.control(to, Control::PeerHandOver { connection, unread });
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
                peers: self.shard.peers.clone(),
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
        self.shard.lanes.broadcast(|| Control::Founded(manifest.clone()));
    }

    fn log_options(&self) -> LogOptions {
        LogOptions { segment_bytes: self.config.segment_bytes, ..LogOptions::default() }
    }

    /// Opens the log and every replica in it.
    async fn open_log(self: Rc<Self>, manifest: Arc<Manifest>) {
        let dir = manifest.log_dir(&self.config.data_dir, self.shard.id.0);
        let identity = log_identity(&manifest, self.shard.id.0);
        let options = LogOptions { create: false, ..self.log_options() };
        let (log, recovered) = match Log::open(self.disk.clone(), &dir, identity, options).await {
            Ok(opened) => opened,
            Err(error) => E::abort(exit_code_of(&error), &format!("cannot open the log: {error}")),
        };
        if recovered.report.torn {
            eprintln!("shard {}: the log ended in an unfinished write, which was cut off", self.shard.id);
        }
        // Before anybody can make a group: one that the log knows must not be made again, it would forget its votes.
        self.made.borrow_mut().extend(recovered.groups.keys().map(|&group| GroupId(group)));
        *self.shard.log.borrow_mut() = Some(log.clone());
        let runner = self.clone();
        let writer = log.clone();
        E::spawn(async move {
            if let Err(error) = writer.run().await {
                E::abort(ExitCode::DiskFailed, &format!("the log of shard {}: {error}", runner.shard.id));
            }
            runner.log_closed.notify();
        });
        E::spawn(self.clone().care_for_log(log.clone()));
        for (group, content) in recovered.groups {
            let Some(created) = &content.created else {
                let text = format!("{}: group {group} has records but was never made", dir.display());
                E::abort(ExitCode::DataDamaged, &text);
            };
            match Creation::decode(created) {
                Ok(creation) => self.open_group(&log, creation, content).await,
                Err(error) => {
                    E::abort(ExitCode::DataDamaged, &format!("{}: group {group}: {error}", dir.display()));
                }
            }
        }
        if self.shard.id == GroupId::META.shard(self.config.shards) {
            self.start_meta(&manifest).await;
        }
        self.opened.set(true);
        let meta = self.meta.borrow().clone();
        if let Some(meta) = meta {
            E::spawn(self.clone().follow_placements(meta));
        }
        E::spawn(self.prefer_leaders());
    }

    async fn start_meta(self: &Rc<Self>, manifest: &Manifest) {
        let founding = manifest.founding.clone().expect("a log is opened only after the founding");
        let incarnation = Incarnation(manifest.incarnation);
        let members = founding.members.clone();
        let Some(creation) = Creation::meta(members, founding.settings, incarnation) else {
            E::abort(ExitCode::Bug, "the founding does not name this node");
        };
        let first = creation.members.first().is_some_and(|member| member.incarnation == incarnation.0);
        self.make_group(creation.clone()).await;
        // It is there, unless the node stops already.
        let Some(meta) = self.shard.group(GroupId::META) else { return };
        if first && let Err(error) = meta.replica().initialize(&creation.voters()).await {
            E::abort(ExitCode::Bug, &format!("cannot initialise the meta group: {error}"));
        }
        let duties = Duties { shard: self.shard.clone(), meta, founding, info: self.info.clone() };
        E::spawn(duties.run());
    }

    /// Makes a group that the log does not know yet; does nothing for one it knows.
    async fn make_group(&self, creation: Creation) {
        let log = self.shard.log.borrow().clone();
        let Some(log) = log else { return };
        if !self.made.borrow_mut().insert(creation.group()) {
            return;
        }
        let created = Record::GroupCreated(creation.encode());
        match log.append_durable(creation.group().0, vec![created]).await {
            Ok(()) => {}
            // The node stops; the next start makes the group.
            Err(LogError::Closed) => return,
            Err(error) => E::abort(ExitCode::DiskFailed, &format!("the log of shard {}: {error}", self.shard.id)),
        }
        self.open_group(&log, creation, GroupLog::default()).await;
    }

    async fn open_group(&self, log: &Log<E::Disk>, creation: Creation, content: GroupLog) {
        let group = creation.group();
        let context = ReplicaContext {
            log: log.clone(),
            disk: self.disk.clone(),
            snapshot_dir: self.snapshot_dir(&creation),
            peers: self.shard.peers.clone(),
            clock: self.shard.clock.clone(),
            timing: self.config.timing,
            boot_deadline: self.booted + self.config.timing.election_max + BOOT_MARGIN,
            snapshot_log_bytes: self.config.snapshot_log_bytes,
            incarnation: self.shard.incarnation,
        };
        let opened = Replica::open(context, group, creation.replica(), creation.machine(), content).await;
        match opened {
            Ok(replica) => self.shard.insert_group(Group::new(group, replica, &self.shard)),
            Err(error) => E::abort(ExitCode::DataDamaged, &format!("cannot open group {group}: {error}")),
        }
    }

    fn snapshot_dir(&self, creation: &Creation) -> PathBuf {
        Manifest::snapshot_dir(&self.config.data_dir, creation.group, creation.replica)
    }

    /// Makes the groups that are placed here, and initialises those that are this node's to initialise.
    async fn follow_placements(self: Rc<Self>, meta: Arc<Meta>) {
        for placement in &meta.placements {
            let group = GroupId(placement.group);
            if group.shard(self.config.shards) != self.shard.id || self.stopping.get() {
                continue;
            }
            let incarnation = self.shard.incarnation;
            let Some(creation) = Creation::data(&meta.map, placement, meta.settings, incarnation) else { continue };
            let voters = creation.voters();
            self.make_group(creation).await;
            let first = placement.replicas.first().is_some_and(|replica| replica.incarnation == incarnation.0);
            if let (true, false, Some(group)) = (first, placement.led, self.shard.group(group))
                && let Err(error) = group.replica().initialize(&voters).await
            {
                eprintln!("group {}: cannot be initialised: {error}", group.id());
            }
        }
    }

    /// Seals the log when it is idle, and asks groups that hold its oldest segment for a snapshot.
    async fn care_for_log(self: Rc<Self>, log: Log<E::Disk>) {
        while !self.stopping.get() {
            E::sleep(LOG_CARE_EVERY).await;
            log.seal_if_idle();
            let pinned = log.pinned();
            let newest = pinned.iter().map(|(_, segment)| *segment).max().unwrap_or(0);
            let lag = self.segments_before_snapshots(pinned.len() as u64);
            for (group, segment) in pinned {
                if segment + lag < newest
                    && let Some(group) = self.shard.group(GroupId(group))
                {
                    group.replica().request_snapshot();
                }
            }
        }
    }

    /// How many segments behind the newest a group's oldest entry may be: twice what all groups together write before
    /// they take snapshots by themselves. A busy group does so in time; this is for the idle ones among busy ones.
    fn segments_before_snapshots(&self, groups: u64) -> u64 {
        2 + (2 * groups * self.config.snapshot_log_bytes).div_ceil(self.config.segment_bytes)
    }

    pub(super) async fn close_log(&self) {
        let log = self.shard.log.borrow().clone();
        if let Some(log) = log {
            log.close();
            self.log_closed.wait().await;
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

/// Whose log it is, for the log's checksums.
pub fn log_identity(manifest: &Manifest, shard: u16) -> LogIdentity {
    let founding = manifest.founding.as_ref().expect("a log is opened only after the founding");
    LogIdentity { cluster: founding.cluster, incarnation: manifest.incarnation, shard }
}

/// What a log that cannot be opened ends the process with.
pub fn exit_code_of(error: &OpenError) -> ExitCode {
    match error {
        OpenError::Io { .. } => ExitCode::DiskFailed,
        OpenError::NewerFormat { .. } => ExitCode::HostNotFit,
        _ => ExitCode::DataDamaged,
    }
}

impl<E: Env> ControlHandler<E> for Runner<E> {
    fn adopt_peer(&self, connection: Detached<E>, unread: Bytes) {
        self.shard.peers.adopt(connection, unread);
    }

    fn node_event(&self, event: NodeEvent) {
        let replicas = self.shard.groups.borrow().values().map(|group| group.replica().clone()).collect();
        self.failover.on_event(event, replicas);
    }

    fn founded(self: Rc<Self>, manifest: Arc<Manifest>) {
        let cluster = manifest.founding.as_ref().map_or(ClusterId::NONE, |founding| ClusterId(founding.cluster));
        self.shard.peers.set_cluster(cluster);
        *self.manifest.borrow_mut() = manifest.clone();
        E::spawn(self.open_log(manifest));
    }

    fn meta_changed(self: Rc<Self>, meta: Arc<Meta>) {
        let known = meta.nodes.iter().filter(|info| info.node != self.config.node.0);
        let addresses =
            known.map(|info| (NodeId(info.node), Some(Incarnation(info.incarnation)), info.peer_address.clone()));
        self.shard.peers.set_addresses(addresses.collect());
        *self.meta.borrow_mut() = Some(meta.clone());
        if self.opened.get() {
            E::spawn(self.follow_placements(meta));
        }
    }

    fn stop(&self) {
        self.stopping.set(true);
        self.shard.draining.set(true);
        self.stop.notify();
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
