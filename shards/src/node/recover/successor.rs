//! The cluster of one node that takes the place of the old one.

use std::path::Path;

use bytes::Bytes;
use kahuna_machine::{Machine, Meta, Range};
use kahuna_protocol::batch::BatchBuilder;
use kahuna_protocol::meta::{Placement, Replica};
use kahuna_protocol::{
    ClusterId, GroupId, Hlc, Incarnation, NodeId, Outcome, RangeMap, ReplicaId, Request, RequestPrelude,
};
use kahuna_wal::{Disk, Record};

use super::error::RecoverError;
use crate::env::Env;
use crate::manifest::founding::Founding;
use crate::node::found::creation::Creation;
use crate::node::found::place_groups;
use crate::node::manifest::Manifest;
use crate::raft::encoding::{log_id_bytes, vote_bytes};
use crate::raft::snapshot::{Header, Pointer, SnapshotFault, SnapshotFile, file_name, write_file};
use crate::raft::types::{LogId, Member, Membership, StoredMembership, Vote};

/// What the new cluster is.
pub struct Successor {
    pub manifest: Manifest,
    pub map: RangeMap,
    /// Where its groups live: all on this node.
    pub placements: Vec<Placement>,
}

impl Successor {
    /// The cluster `cluster` of the node of `old` alone, in a directory of `incarnation`, with the partitions that `meta`
    /// knows. `lowest_id` is above every replica id that was seen.
    ///
    /// # Errors
    /// `Unfit` when the partitions are not those that the cluster was made with.
    pub fn new(
        old: &Manifest,
        meta: &Meta,
        cluster: ClusterId,
        incarnation: Incarnation,
        restore_epoch: u16,
        lowest_id: ReplicaId,
    ) -> Result<Self, RecoverError> {
        let before = old.founding.as_ref().expect("a pending node is not recovered");
        let mut founding = Founding { cluster, ..before.clone() };
        founding.members = vec![Replica { replica: lowest_id, node: old.node, incarnation }];
        founding.settings.restore_epoch = restore_epoch;
        let placed = place_groups(&founding);
        let mut map = if meta.is_placed() { meta.map().clone() } else { placed.map };
        map.ranges.iter_mut().for_each(|range| range.leader = NodeId(0));
        let mut partitions: Vec<u32> = map.ranges.iter().map(|range| range.partition.0).collect();
        partitions.sort_unstable();
        if !partitions.iter().copied().eq(1..=founding.partitions) {
            return Err(RecoverError::Unfit(format!(
                "the range map has the partitions {partitions:?}, and the cluster was made with {}",
                founding.partitions
            )));
        }
        let mut placements = placed.placements;
        // Each begins with a snapshot: it must never be initialised.
        placements.iter_mut().for_each(|placement| placement.led = true);
        let manifest = Manifest {
            incarnation,
            peers: vec![(old.node, String::new())],
            founding: Some(founding),
            log_set: 0,
            losses: 0,
            lost_logs: Vec::new(),
            ..old.clone()
        };
        Ok(Self { manifest, map, placements })
    }

    fn founding(&self) -> &Founding {
        self.manifest.founding.as_ref().expect("it was made with one")
    }

    /// The meta group's state: this node has every group.
    pub fn meta_machine(&self, time: Hlc) -> Machine {
        let mut machine = Machine::new(self.founding().settings, Range::none());
        let placed = place_groups(self.founding());
        let placed =
            kahuna_protocol::meta::PlaceGroups { map: self.map.clone(), placements: self.placements.clone(), ..placed };
        let request = Request::from(placed);
        let mut body = Vec::new();
        request.encode_body(&mut body);
        let mut batch = BatchBuilder::new();
        batch.push(request.kind(), 0, &RequestPrelude::default(), &body);
        let applied = machine.apply(&batch.finish(time)).expect("a batch of our own is readable");
        assert!(matches!(applied.outcomes[..], [Outcome::Done(_)]), "our own placement is taken: {applied:?}");
        machine
    }

    /// A data group's range; `None` for the meta group, which has none.
    pub fn range(&self, group: GroupId) -> Option<Range> {
        Range::of(&self.map, group)
    }

    /// How `group` is made.
    pub fn creation(&self, group: GroupId) -> Creation {
        let founding = self.founding();
        let incarnation = self.manifest.incarnation;
        let creation = if group == GroupId::META {
            Creation::meta(founding.members.clone(), founding.settings, incarnation)
        } else {
            let placement = self.placements.iter().find(|placement| placement.group == group);
            let placement = placement.expect("every group is placed");
            let at = self.map.ranges.iter().position(|range| range.partition == group);
            at.and_then(|at| Creation::data(&self.map, at, placement, founding.settings, incarnation))
        };
        creation.expect("this node has every group")
    }
}

/// Writes a group's state as a snapshot into the data directory `dir`, durably, and returns the records with which its log
/// begins. `last` becomes the last entry: nothing of the group may have a higher term.
pub async fn write_group<E: Env>(
    disk: &E::Disk,
    dir: &Path,
    creation: &Creation,
    machine: &Machine,
    last: LogId,
) -> Result<Vec<Record>, RecoverError> {
    let replica = creation.replica.0;
    let members = creation.voters().into_iter().map(|(id, incarnation)| (id.0, Member { incarnation }));
    let membership = Membership::new(vec![[replica].into()], members.collect::<std::collections::BTreeMap<_, _>>());
    let membership = membership.expect("the only voter is the only member");
    let header = Header { group: creation.group, last, membership: StoredMembership::new(Some(last), membership) };
    let snapshots = Manifest::snapshot_dir(dir, creation.group, creation.replica);
    let path = snapshots.join(file_name(&last));
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| RecoverError::Snapshot(SnapshotFault::Io { path, source })
    };
    disk.create_dir_all(&snapshots).await.map_err(io(&snapshots))?;
    let beside = path.with_extension("tmp");
    write_file::<E>(disk, &beside, &header, machine.freeze()).await?;
    disk.rename(&beside, &path).await.map_err(io(&path))?;
    disk.sync_dir(&snapshots).await.map_err(io(&snapshots))?;
    let file_bytes = SnapshotFile::<E>::open(disk, &path).await?.bytes;
    let log_id: Bytes = log_id_bytes(Some(&last));
    Ok(vec![
        Record::GroupCreated(creation.encode()),
        Record::Vote(vote_bytes(&Vote::new(last.leader_id.term, replica))),
        Record::Snapshot(Pointer { last, file_bytes }.encode()),
        Record::Purge { upto: last.index, log_id: log_id.clone() },
        Record::Committed(log_id),
    ])
}
