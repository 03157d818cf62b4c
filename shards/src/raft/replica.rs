//! A replica as the rest of the shard sees it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kahuna_machine::Machine;
use kahuna_protocol::meta::ReplicaStatus;
use kahuna_protocol::{GroupId, Incarnation, ReplicaId};
use kahuna_wal::{Disk, GroupLog, Log, Space};
use openraft::alias::WatchReceiverOf;
use openraft::errors::{InitializeError as RaftInitializeError, RaftError};
use openraft::metrics::RaftServerMetrics;
use openraft::rt::WatchReceiver as _;
use openraft::{Config, SnapshotPolicy};

use super::applied::{Applied, Start, damaged_name};
use super::compaction::Compaction;
use super::error::{InitializeError, OpenError};
use super::full_disks::FullDisks;
use super::inbound::{Acknowledged, Door};
use super::link::Links;
use super::log_store::LogStore;
use super::snapshot::{Incoming, Pointer, SnapshotFault, file_name};
use super::state_machine::StateMachine;
use super::types::{Entry, Member, Types};
use crate::clock::Clock;
use crate::config::Timing;
use crate::env::Env;
use crate::peer::Peers;

/// openraft with our types.
pub(super) type Raft<E> = openraft::Raft<Types<E>, StateMachine<E>>;

type ServerMetrics<E> = WatchReceiverOf<Types<E>, RaftServerMetrics<Types<E>>>;

/// Delays of replication to a replica that is not there: short, because its return is told by [`Replica::peer_up`] as well.
const BACKOFF: &str = "10ms 20ms 40ms ...400ms";

/// What a replica needs from its shard.
pub struct ReplicaContext<E: Env> {
    /// The shard's log.
    pub log: Log<E::Disk>,
    /// Where snapshots go.
    pub disk: E::Disk,
    /// The directory for this group's snapshots, absolute; made if it is not there.
    pub snapshot_dir: PathBuf,
    /// The shard's peer links.
    pub peers: Rc<Peers<E>>,
    /// The shard's clock; hears of machine time.
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
}

/// One replica of one group. Lives on its shard; held by its group and by the tasks that wait for it.
pub struct Replica<E: Env> {
    pub(super) group: GroupId,
    pub(super) id: ReplicaId,
    pub(super) raft: Raft<E>,
    pub(super) log: LogStore<E>,
    pub(super) applied: Rc<Applied<E>>,
    /// Until when votes are not answered; zero for a replica that need not wait.
    pub(super) gate: Duration,
    /// A snapshot on its way in, except while a part of it is being taken.
    pub(super) incoming: RefCell<Option<Incoming<E>>>,
    /// The transfer that may go on; another one's parts are refused.
    pub(super) transfer: Cell<u64>,
    /// Vote, state, leader and membership, as openraft tells them.
    pub(super) server: ServerMetrics<E>,
    /// What was let in and not answered yet.
    pub(super) door: Door,
    compaction: Rc<Compaction<E>>,
    full_disks: Rc<FullDisks>,
    pub(super) links: Links<E>,
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
        let log_error = |source| OpenError::Log { group: group.0, source };
        let snapshot_error = |source| OpenError::Snapshot { group: group.0, source };
        let dir = cx.snapshot_dir.clone();
        let pointer = recovered.snapshot.as_ref().map(|bytes| Pointer::read(bytes)).transpose().map_err(log_error)?;
        let log = LogStore::<E>::new(group, cx.log, recovered).map_err(log_error)?;
        let made = cx.disk.create_dir_all(&cx.snapshot_dir).await;
        made.map_err(|source| snapshot_error(SnapshotFault::Io { path: cx.snapshot_dir.clone(), source }))?;
        let start = Start {
            group,
            log: log.clone(),
            disk: cx.disk,
            dir: cx.snapshot_dir,
            clock: cx.clock,
            snapshot_log_bytes: cx.snapshot_log_bytes,
        };
        let applied = Applied::open(start, empty, pointer).await.map_err(|source| match pointer {
            Some(pointer) if source.is_loss() => OpenError::SnapshotLost {
                group: group.0,
                source,
                kept: damaged_name(&dir.join(file_name(&pointer.last))),
            },
            _ => snapshot_error(source),
        })?;
        let purged = log.with_entries(|entries| entries.purged());
        if purged > applied.last() {
            let why = format!("the log begins behind {purged:?}, the snapshot ends with {:?}", applied.last());
            return Err(OpenError::Raft { group: group.0, why });
        }
        let membership = log.last_membership().unwrap_or_else(|| applied.membership());
        if let Some(member) = membership.get_node(&id.0)
            && member.incarnation != cx.incarnation
        {
            let why = format!("replica {id} lives in another data directory: {:016x}", member.incarnation.0);
            return Err(OpenError::Raft { group: group.0, why });
        }
        // Nothing that this replica forgot can harm if it never voted, or nobody else votes.
        let exempt = log.is_pristine() || membership.voter_ids().eq([id.0]);
        let gate = if exempt { Duration::ZERO } else { cx.boot_deadline };
        let gated = gate > E::boot_clock();

        let config = config(group, &cx.timing, !gated).validate();
        let config = config.map_err(|error| OpenError::Raft { group: group.0, why: error.to_string() })?;
        let full_disks = Rc::<FullDisks>::default();
        let acknowledged = Rc::<Acknowledged>::default();
        let links = || Links {
            peers: cx.peers.clone(),
            group,
            from: id,
            timing: cx.timing,
            log: log.clone(),
            full_disks: full_disks.clone(),
            acknowledged: acknowledged.clone(),
        };
        let machine = StateMachine(applied.clone());
        let raft = Raft::<E>::new(id.0, Arc::new(config), links(), log.clone(), machine).await;
        let raft = raft.map_err(|fatal| OpenError::Raft { group: group.0, why: fatal.to_string() })?;
        let compaction = Rc::new(Compaction::new(applied.clone(), log.clone(), cx.snapshot_log_bytes));
        E::spawn(compaction.clone().run(raft.clone()));
        if gated {
            let raft = raft.clone();
            E::spawn(async move {
                E::sleep(gate.saturating_sub(E::boot_clock())).await;
                raft.runtime_config().tick(true);
            });
        }
        let own_links = links();
        Ok(Rc::new(Self {
            group,
            id,
            server: raft.server_metrics(),
            raft,
            log,
            applied,
            gate,
            incoming: RefCell::new(None),
            transfer: Cell::new(0),
            door: Door::default(),
            compaction,
            links: own_links,
            full_disks,
        }))
    }

    /// The replica's number.
    pub fn id(&self) -> ReplicaId {
        self.id
    }

    /// The group it is of.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Makes the group begin with these members. Repeating it, here or on another replica of the same list, is safe: a
    /// group that has begun is left as it is.
    ///
    /// # Errors
    /// `NotMember` when this replica is not listed, `Stopped`.
    pub async fn initialize(&self, members: &[(ReplicaId, Incarnation)]) -> Result<(), InitializeError> {
        let member = |&(id, incarnation): &(ReplicaId, Incarnation)| (id.0, Member { incarnation });
        let members: BTreeMap<u64, Member> = members.iter().map(member).collect();
        match self.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(RaftInitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(RaftInitializeError::NotInMembers(_))) => Err(InitializeError::NotMember),
            Err(RaftError::Fatal(fatal)) => Err(InitializeError::Stopped(fatal.to_string())),
        }
    }

    /// Whether this replica has stored a vote or an entry: then it must not be initialised.
    pub fn is_initialized(&self) -> bool {
        !self.log.is_pristine()
    }

    /// The machine. Whoever borrows it lets go before the next await.
    pub fn machine(&self) -> &RefCell<Machine> {
        self.applied.machine()
    }

    /// Returns once an entry beyond `index` is applied.
    pub async fn applied_beyond(&self, index: u64) {
        let mut next = self.applied.watch();
        while *next.borrow_and_update() <= index + 1 {
            if next.changed().await.is_err() {
                return;
            }
        }
    }

    /// The index of the last entry applied; 0 if there is none.
    pub fn applied_index(&self) -> u64 {
        self.applied.last().map_or(0, |last| last.index)
    }

    /// The index of the log's last entry, applied or not; 0 if there is none.
    pub fn last_index(&self) -> u64 {
        self.log.with_entries(|entries| entries.last().map_or(0, |last| last.index))
    }

    /// The entries from `from` on that the log still holds, for whoever compares the logs of replicas.
    pub fn log_from(&self, from: u64) -> Vec<Entry> {
        self.log.with_entries(|entries| entries.range(from..).cloned().collect())
    }

    /// All members, in order of replica id.
    pub fn members(&self) -> Vec<(ReplicaId, Incarnation)> {
        let membership = self.server.borrow_watched().membership_config.clone();
        membership.nodes().map(|(&id, member)| (ReplicaId(id), member.incarnation)).collect()
    }

    /// How much room this replica's log has.
    pub fn space(&self) -> Space {
        self.log.space()
    }

    /// While this replica leads: the voters, this one included, whose disks are full, if the others are no majority.
    pub fn majority_without_room(&self) -> Option<Vec<Incarnation>> {
        let own = self.space() != Space::Plenty;
        if !own && self.full_disks.is_empty() {
            return None;
        }
        let membership = self.server.borrow_watched().membership_config.clone();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let is_full = |&&voter: &&u64| if voter == self.id.0 { own } else { self.full_disks.contains(voter) };
        let full: Vec<u64> = voters.iter().filter(is_full).copied().collect();
        let others = voters.len() - full.len();
        (others <= voters.len() / 2)
            .then(|| full.iter().filter_map(|id| membership.get_node(id).map(|member| member.incarnation)).collect())
    }

    /// For people. `shard` is 0: the caller knows it; so is `leader` while the leader's node is not known.
    pub fn status(&self) -> ReplicaStatus {
        let leader = self.leader();
        let node = leader.incarnation.and_then(|incarnation| self.links.peers.node_of(incarnation));
        let (last_index, first_index) =
            self.log.with_entries(|entries| (entries.last().map_or(0, |last| last.index), entries.first_index()));
        ReplicaStatus {
            group: self.group.0,
            replica: self.id.0,
            shard: 0,
            term: leader.term,
            leader: node.map_or(0, |node| node.0),
            last_index,
            applied_index: self.applied_index(),
            snapshot_index: self.applied.snapshot().map_or(0, |file| file.header.last.index),
            first_index,
            records: self.machine().borrow().len() as u64,
        }
    }

    /// Wants all that is applied out of the log: this group's old entries keep a segment of the shard's log.
    pub fn request_snapshot(&self) {
        self.compaction.request();
    }

    /// Stops. What is proposed and not answered is unknown.
    pub async fn shutdown(&self) {
        // The only error is that the core's task was cancelled: then it has stopped as well.
        drop(self.raft.shutdown().await);
    }
}

fn config(group: GroupId, timing: &Timing, tick: bool) -> Config {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: format!("group {group}"),
        heartbeat_interval: millis(timing.heartbeat),
        election_timeout_min: millis(timing.election_min),
        election_timeout_max: millis(timing.election_max),
        enable_tick: tick,
        enable_pre_vote: Some(true),
        // A restored leader would serve what it has not applied yet; a new term cannot.
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        // When to take snapshots and what to purge behind them is `compaction`'s affair.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        max_payload_entries: 1024,
        backoff: BACKOFF.into(),
        ..Config::default()
    }
}
