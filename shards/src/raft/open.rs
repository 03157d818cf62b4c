//! Opening a replica: its log, its machine and its engine, put together and started.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kahuna_machine::Machine;
use kahuna_protocol::{GroupId, Incarnation, ReplicaId};
use kahuna_wal::{Disk, GroupLog, Log};
use openraft::{Config, SnapshotPolicy};

use super::applied::{AppliedContext, AppliedState};
use super::boot_gate::BootGate;
use super::campaigns::Campaigns;
use super::compaction::Compaction;
use super::election_timer::ElectionTimer;
use super::error::OpenError;
use super::full_disks::FullDisks;
use super::heartbeats::{Heartbeats, Restless};
use super::inbound::{Acknowledged, Door, InboundHandler};
use super::link::ReplicaLinks;
use super::log_store::LogStore;
use super::network::NetworkFactory;
use super::reads::Reads;
use super::replica::Replica;
use super::snapshot::{Pointer, SnapshotFault, SnapshotTransfer, damaged_name, file_name};
use super::state_machine::{Raft, StateMachine};
use crate::clock::Clock;
use crate::config::Timing;
use crate::env::Env;
use crate::peer::Peers;

/// What a replica needs from its shard.
pub struct ReplicaContext<E: Env> {
    /// Log of the shard, which all its groups share.
    pub log: Log<E::Disk>,
    /// The disk for snapshots.
    pub disk: E::Disk,
    /// The directory for this group's snapshots, absolute; made if it is not there.
    pub snapshot_dir: PathBuf,
    /// The shard's peer links.
    pub peers: Rc<Peers<E>>,
    /// The shard's clock, advanced to machine time on apply.
    pub clock: Rc<Clock<E>>,
    /// Raft's times.
    pub timing: Timing,
    /// Until when the boot gate holds, as time since boot ([`Env::boot_clock`]): the process's start, `election_max` and a
    /// margin for drift.
    pub boot_deadline: Duration,
    /// A snapshot is taken when the log since the last one is longer than this, in bytes.
    pub snapshot_log_bytes: u64,
    /// This node's data directory.
    pub incarnation: Incarnation,
    /// What the shard's leaders repeat.
    pub heartbeats: Rc<Heartbeats<E>>,
    /// The pace of the shard's campaigns.
    pub campaigns: Rc<Campaigns<E>>,
}

impl<E: Env> Replica<E> {
    /// Opens the replica `id` of `group` with what the log holds of it, and starts it. `empty` is the machine of a group
    /// that has applied nothing; all replicas begin with the same.
    ///
    /// # Errors
    /// When log or snapshot cannot be read or contradict each other: the node must not start. `SnapshotLost` concerns this
    /// replica alone, for ever.
    pub async fn open(
        cx: ReplicaContext<E>,
        group: GroupId,
        id: ReplicaId,
        empty: Machine,
        recovered: GroupLog,
    ) -> Result<Rc<Self>, OpenError> {
        let log_error = |source| OpenError::Log { group, source };
        let snapshot_error = |source| OpenError::Snapshot { group, source };
        let dir = cx.snapshot_dir.clone();
        let pointer = recovered.snapshot.as_ref().map(|bytes| Pointer::read(bytes)).transpose().map_err(log_error)?;
        let log = LogStore::<E>::new(group, cx.log, recovered).map_err(log_error)?;
        let made = cx.disk.create_dir_all(&cx.snapshot_dir).await;
        made.map_err(|source| snapshot_error(SnapshotFault::Io { path: cx.snapshot_dir.clone(), source }))?;
        let applied = AppliedContext {
            group,
            log: log.clone(),
            disk: cx.disk,
            dir: cx.snapshot_dir,
            clock: cx.clock,
            snapshot_log_bytes: cx.snapshot_log_bytes,
        };
        let applied = AppliedState::open(applied, empty, pointer).await.map_err(|source| match pointer {
            Some(pointer) if source.is_loss() => {
                OpenError::SnapshotLost { group, source, kept: damaged_name(&dir.join(file_name(&pointer.last))) }
            }
            _ => snapshot_error(source),
        })?;
        let purged = log.with_entries(|entries| entries.purged());
        if purged > applied.last() {
            let why = format!("the log begins behind {purged:?}, the snapshot ends with {:?}", applied.last());
            return Err(OpenError::Raft { group, why });
        }
        let membership = log.last_membership().unwrap_or_else(|| applied.membership());
        if let Some(member) = membership.get_node(&id.0)
            && member.incarnation != cx.incarnation
        {
            let why = format!("replica {id} lives in another data directory: {:016x}", member.incarnation);
            return Err(OpenError::Raft { group, why });
        }
        // Forgotten votes can do no harm if this replica never voted, or is the only voter.
        let exempt = log.is_pristine() || membership.voter_ids().eq([id.0]);
        let gate = BootGate::new(if exempt { Duration::ZERO } else { cx.boot_deadline });
        let config = config(group, &cx.timing).validate();
        let config = config.map_err(|error| OpenError::Raft { group, why: error.to_string() })?;
        let full_disks = Rc::<FullDisks>::default();
        let acknowledged = Rc::<Acknowledged>::default();
        let restless = Restless::new(cx.heartbeats.clone());
        let reads = Reads::default();
        let links = || ReplicaLinks {
            peers: cx.peers.clone(),
            group,
            from: id,
            timing: cx.timing,
            log: log.clone(),
            full_disks: full_disks.clone(),
            acknowledged: acknowledged.clone(),
            restless: restless.clone(),
            reads: reads.clone(),
        };
        let machine = StateMachine { applied: applied.clone(), reads: reads.clone() };
        // The log is applied within the task that opens the replica, which speaks to openraft's core next.
        let opening = reads.one();
        let raft = Raft::<E>::new(id.0, Arc::new(config), NetworkFactory(links()), log.clone(), machine).await;
        let raft = raft.map_err(|fatal| OpenError::Raft { group, why: fatal.to_string() })?;
        drop(opening);
        let compaction = Rc::new(Compaction::new(applied.clone(), log.clone(), cx.snapshot_log_bytes));
        E::spawn(compaction.clone().run(raft.clone()));
        let timer = ElectionTimer::new(raft.clone(), links(), gate, cx.campaigns);
        E::spawn(timer.clone().follow_changes());
        E::spawn(timer.clone().start());
        let (links, server) = (links(), raft.server_metrics());
        log.own_flush().set_server(server.clone());
        let inbound = Rc::new(InboundHandler {
            group,
            id,
            raft: raft.clone(),
            server: server.clone(),
            log: log.clone(),
            applied: applied.clone(),
            gate,
            timer: timer.clone(),
            acknowledged,
            restless: restless.clone(),
            peers: links.peers.clone(),
            door: Door::default(),
            transfer: SnapshotTransfer::new(applied.snapshots().clone()),
        });
        let replica = Rc::new(Self {
            group,
            id,
            raft,
            log,
            applied,
            server,
            inbound,
            compaction,
            full_disks,
            links,
            timer,
            successor: Rc::default(),
        });
        restless.set_replica(&replica);
        Ok(replica)
    }
}

fn config(group: GroupId, timing: &Timing) -> Config {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: format!("group {group}"),
        heartbeat_interval: millis(timing.heartbeat),
        election_timeout_min: millis(timing.election_min),
        election_timeout_max: millis(timing.election_max),
        // What ticks are for is done by `election_timer` and `heartbeats`.
        enable_tick: false,
        enable_pre_vote: Some(true),
        // A restored leader would serve what it has not applied yet; a new term cannot.
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        // When to take snapshots and what to purge behind them is `compaction`'s affair.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        max_payload_entries: 1024,
        ..Config::default()
    }
}
