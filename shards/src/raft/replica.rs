//! A replica as the rest of the shard sees it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use kahuna_machine::{Effects, Interest, Machine};
use kahuna_protocol::meta::ReplicaStatus;
use kahuna_protocol::{ErrorReply, GroupId, Incarnation, NodeId, ReplicaId, ShardId};
use kahuna_wal::Space;
use openraft::errors::{InitializeError as RaftInitializeError, RaftError};
use openraft::rt::WatchReceiver as _;

use super::applied::AppliedState;
use super::compaction::Compaction;
use super::election_timer::ElectionTimer;
use super::error::InitializeError;
use super::full_disks::FullDisks;
use super::inbound::{InboundHandler, Sender};
use super::link::ReplicaLinks;
use super::log_store::LogStore;
use super::state_machine::Raft;
use super::types::{Entry, Member, ServerMetrics};
use crate::env::Env;

/// One replica of one group. Lives on its shard; held by its group and by the tasks that wait for it.
pub struct Replica<E: Env> {
    pub(super) group: GroupId,
    pub(super) id: ReplicaId,
    pub(super) raft: Raft<E>,
    pub(super) log: LogStore<E>,
    pub(super) applied: Rc<AppliedState<E>>,
    pub(super) server: ServerMetrics<E>,
    pub(super) inbound: Rc<InboundHandler<E>>,
    pub(super) compaction: Rc<Compaction<E>>,
    pub(super) full_disks: Rc<FullDisks>,
    pub(super) links: ReplicaLinks<E>,
    pub(super) timer: Rc<ElectionTimer<E>>,
    /// In which term this replica resigned, and whom it appointed last.
    pub(super) successor: Rc<Cell<Option<(u64, ReplicaId)>>>,
}

impl<E: Env> Replica<E> {
    /// Id that the meta group minted for this replica, never used twice.
    pub fn id(&self) -> ReplicaId {
        self.id
    }

    /// The group it is of.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Answers a message of another replica, see [`InboundHandler::on_message`].
    ///
    /// # Errors
    /// Those of the handler.
    pub fn on_message(
        &self,
        from: Sender,
        kind: u16,
        body: Bytes,
    ) -> impl Future<Output = Result<(u16, Vec<u8>), ErrorReply>> + use<E> {
        self.inbound.on_message(from, kind, body)
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
            Ok(()) => {
                self.timer.campaign().await;
                Ok(())
            }
            Err(RaftError::APIError(RaftInitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(RaftInitializeError::NotInMembers(_))) => Err(InitializeError::NotMember),
            Err(RaftError::Fatal(fatal)) => Err(InitializeError::Stopped(fatal.to_string())),
        }
    }

    /// Whether this replica has stored a vote or an entry: then it must not be initialised.
    pub fn is_initialized(&self) -> bool {
        !self.log.is_pristine()
    }

    /// The machine. A borrow must end before the next await.
    pub fn machine(&self) -> &RefCell<Machine> {
        self.applied.machine()
    }

    /// Calls `listener` with what each entry brings about once it is applied: see [`AppliedState::listen`].
    pub fn listen(&self, interest: Interest, listener: Rc<dyn Fn(Effects)>) {
        self.applied.listen(interest, listener);
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

    /// The entries from `from` on that the log still holds, for comparing the logs of replicas.
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
        // Their acknowledgements carry it: they are asked until they have room.
        self.links.restless.note();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let is_full = |&&voter: &&u64| if voter == self.id.0 { own } else { self.full_disks.contains(voter) };
        let full: Vec<u64> = voters.iter().filter(is_full).copied().collect();
        let others = voters.len() - full.len();
        (others <= voters.len() / 2)
            .then(|| full.iter().filter_map(|id| membership.get_node(id).map(|member| member.incarnation)).collect())
    }

    /// Status for operators. `shard` is 0; the caller fills it in. `leader` is 0 while the leader's node is not known.
    pub fn status(&self) -> ReplicaStatus {
        let leader = self.leader();
        let node = leader.incarnation.and_then(|incarnation| self.links.peers.node_of(incarnation));
        let (last_index, first_index) =
            self.log.with_entries(|entries| (entries.last().map_or(0, |last| last.index), entries.first_index()));
        ReplicaStatus {
            group: self.group,
            replica: self.id,
            shard: ShardId(0),
            term: leader.term,
            leader: node.unwrap_or(NodeId(0)),
            last_index,
            applied_index: self.applied_index(),
            snapshot_index: self.applied.snapshots().newest().map_or(0, |file| file.header.last.index),
            first_index,
            records: self.machine().borrow().len() as u64,
        }
    }

    /// Requests a snapshot so that the log can be purged; old entries of this group pin a segment of the shard's log.
    pub fn request_snapshot(&self) {
        self.compaction.request();
    }

    /// Stops. What is proposed and not answered is unknown.
    pub async fn shutdown(&self) {
        // The only error is that the core's task was cancelled: then it has stopped as well.
        drop(self.raft.shutdown().await);
    }
}
