//! A look at a running node from outside. Looking changes nothing, and asking for a lease neither.

use std::{
    cell::RefCell,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
};

use kahuna_machine::Meta;
use kahuna_protocol::{GroupId, ReplicaId, meta::DiskSpace};
use kahuna_shards::{
    env::Env as _,
    group::Group,
    raft::encoding::{entry_kind, entry_payload},
    shard::Shard,
};

use crate::{NodeId, Sim};

/// One replica of a running node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupView {
    /// Group of the replica that was looked at.
    pub group: GroupId,
    /// Id of the replica that was looked at.
    pub replica: ReplicaId,
    /// The highest term it has seen.
    pub term: u64,
    /// It leads in that term.
    pub leading: bool,
    /// The last entry of its log.
    pub last_index: u64,
    /// The last entry applied.
    pub applied_index: u64,
    /// The last entry in its newest snapshot; 0 if there is none.
    pub snapshot_index: u64,
    /// The first entry that its log still holds.
    pub first_index: u64,
}

/// One entry of a replica's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it stands.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    /// A hash over what it says.
    pub digest: u64,
}

/// The shards of one run of a node; none before it has started and after it has stopped.
#[derive(Clone, Default)]
pub struct Probe(Rc<RefCell<Vec<Rc<Shard<Sim>>>>>);

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("groups", &self.groups()).finish()
    }
}

impl Probe {
    pub(super) fn set(&self, shards: Vec<Rc<Shard<Sim>>>) {
        let before = self.0.replace(shards);
        drop(before);
    }

    /// Whether its shards run.
    pub fn is_running(&self) -> bool {
        !self.0.borrow().is_empty()
    }

    /// The clock that it goes by, in nanoseconds since 1970, once it knows which.
    pub fn agreed_clock(&self) -> Option<u64> {
        self.0.borrow().first().and_then(|shard| shard.clock().agreed()).map(|agreed| agreed.0)
    }

    /// Where a node is for its peers, by the meta group's record that was applied here.
    pub fn place_of(&self, node: NodeId) -> Option<String> {
        let shards = self.0.borrow();
        let node = u32::try_from(node).ok()?;
        shards.first()?.view().peer_address_of(kahuna_protocol::NodeId(node))
    }

    /// The groups whose replicas are open, in no order.
    pub fn groups(&self) -> Vec<GroupView> {
        let shards = self.0.borrow();
        let groups = shards.iter().flat_map(|shard| shard.groups().all());
        groups
            .map(|group| {
                let status = group.replica().status();
                GroupView {
                    group: group.id(),
                    replica: group.replica().id(),
                    term: status.term,
                    leading: group.replica().leader().leading,
                    last_index: status.last_index,
                    applied_index: status.applied_index,
                    snapshot_index: status.snapshot_index,
                    first_index: status.first_index,
                }
            })
            .collect()
    }

    /// The room that its logs have, that of the shard which has the least.
    pub fn disk_space(&self) -> DiskSpace {
        self.0.borrow().iter().map(|shard| shard.shard_status().disk).max().unwrap_or_default()
    }

    fn group(&self, group: GroupId) -> Option<Rc<Group<Sim>>> {
        self.0.borrow().iter().find_map(|shard| shard.group(group))
    }

    /// The entries from `from` on that the log of a group's replica still holds, durable or not.
    pub fn log(&self, group: GroupId, from: u64) -> Vec<LogEntry> {
        let Some(group) = self.group(group) else { return Vec::new() };
        let entries = group.replica().log_from(from).into_iter().map(|entry| {
            let mut hasher = DefaultHasher::new();
            (entry_kind(&entry.payload), entry_payload(&entry.payload)).hash(&mut hasher);
            LogEntry { index: entry.log_id.index, term: entry.log_id.leader_id.term, digest: hasher.finish() }
        });
        entries.collect()
    }

    /// The term in which a group's replica leads here, if it does.
    pub fn leads_in(&self, group: GroupId) -> Option<u64> {
        let leader = self.group(group)?.replica().leader();
        leader.leading.then_some(leader.term)
    }

    /// Whether a group's replica would answer a read now, by its lease alone.
    pub async fn trusts_its_lease(&self, group: GroupId) -> bool {
        match self.group(group) {
            Some(group) => group.replica().lease_read().await.is_ok(),
            None => false,
        }
    }

    /// Makes a group's replica stand for election now, as the death of its leader's node does.
    pub fn campaign(&self, group: GroupId) {
        if let Some(group) = self.group(group) {
            Sim::spawn(async move { group.replica().timer().elect().await });
        }
    }

    /// Transfers the leadership of a group, which is led here, to another replica; whether it was said to the others.
    pub async fn transfer(&self, group: GroupId, to: ReplicaId) -> bool {
        match self.group(group) {
            Some(group) => group.replica().transfer_to(to).await.is_ok(),
            None => false,
        }
    }

    /// Makes a group's replica doubt that `leader` leads, as another node's word does.
    pub fn doubt(&self, group: GroupId, leader: ReplicaId) {
        if let Some(group) = self.group(group) {
            group.replica().timer().doubt(leader);
        }
    }

    /// Whether a group's replica believes in a leader.
    pub fn believes(&self, group: GroupId) -> bool {
        self.group(group).is_some_and(|group| group.replica().timer().believes())
    }

    /// What each of its shards tells clients about who leads which group; 0 for nobody.
    pub fn told_leaders(&self) -> Vec<(GroupId, NodeId)> {
        let shards = self.0.borrow();
        let ranges = shards.iter().flat_map(|shard| shard.view().current_map().ranges.ranges);
        ranges.map(|range| (range.partition, NodeId::from(range.leader.0))).collect()
    }

    /// What the meta group says, as far as its replica here has applied it.
    pub fn meta(&self) -> Option<Meta> {
        let group = self.group(GroupId::META)?;
        let machine = group.replica().machine().borrow();
        Some(machine.meta().clone())
    }

    /// Ends a group's replica, as a bug in it would, while the node goes on.
    pub async fn end_replica(&self, group: GroupId) {
        if let Some(group) = self.group(group) {
            group.replica().shutdown().await;
        }
    }

    /// The hash of a group's machine and the last entry that is in it.
    pub fn hash(&self, group: GroupId) -> Option<(u64, u64)> {
        let group = self.group(group)?;
        let replica = group.replica();
        Some((replica.applied_index(), replica.machine().borrow().hash()))
    }
}
