//! All of a recovery but the switch of directories: reads the old one, writes the new one, and reports the result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::future;
use kahuna_machine::{Machine, Range};
use kahuna_protocol::{ClusterId, GroupId, Incarnation, ReplicaId, ShardId};
use kahuna_wal::{Disk, Log, LogError, LogOptions, Record};

use super::error::RecoverError;
use super::group::{Rebuilt, rebuild};
use super::logs::{Found, salvage};
use super::report::{GroupReport, Loss, Report};
use super::successor::{Successor, write_group};
use crate::env::Env;
use crate::manifest::founding::Founding;
use crate::node::found::creation::Creation;
use crate::node::manifest::Manifest;
use crate::node::open::log_identity;
use crate::raft::snapshot::free;
use crate::raft::types::log_id;

/// Numbers that must be unique.
#[derive(Clone, Copy, Debug)]
pub struct Mint {
    /// Of the new cluster.
    pub cluster: ClusterId,
    /// Of the new data directory.
    pub incarnation: Incarnation,
}

/// What to do.
#[derive(Debug)]
pub struct Job {
    /// The old data directory, absolute.
    pub dir: PathBuf,
    /// Its manifest, which names a cluster.
    pub manifest: Manifest,
    /// Its directories of snapshots, by group.
    pub snapshots: BTreeMap<GroupId, Vec<PathBuf>>,
    /// What the new cluster is called.
    pub mint: Mint,
    /// Its restore epoch; one above the old one's if not given.
    pub restore_epoch: Option<u16>,
    /// The new data directory, absolute and there; none to change nothing.
    pub target: Option<PathBuf>,
}

impl Job {
    /// Rebuilds every group, and writes the new data directory if there shall be one: whole and durable.
    ///
    /// # Errors
    /// See [`RecoverError`]; the old directory is as it was.
    pub async fn run<E: Env>(&self, disk: &E::Disk) -> Result<Report, RecoverError> {
        let (logs, mut found) = salvage(disk, &self.dir, &self.manifest).await?;
        let founding = self.founding();
        let meta = found.remove(&GroupId::META).unwrap_or_default();
        let empty_meta = || Machine::new(founding.settings, Range::none());
        let old_meta = self.rebuild::<E>(disk, GroupId::META, &meta, empty_meta).await?;
        let known = old_meta.machine.meta();
        let old_epoch = known.settings().restore_epoch.max(founding.settings.restore_epoch);
        let restore_epoch = self.epoch_after(old_epoch)?;
        let lowest_id = self.lowest_id(known.next_replica(), found.values().chain([&meta]));
        let Mint { cluster, incarnation } = self.mint;
        let successor = Successor::new(&self.manifest, known, cluster, incarnation, restore_epoch, lowest_id)?;

        let mut records = BTreeMap::new();
        let machine = successor.meta_machine(old_meta.machine.time());
        records.insert(GroupId::META, self.write::<E>(disk, &successor, &machine, GroupId::META, &old_meta).await?);
        let placed = old_meta.machine.meta().is_placed();
        let mut groups = vec![report_group(GroupId::META, &meta, &old_meta)];
        if !placed {
            groups[0].notes.push("the range map is not there; the partitions are taken as they were made".to_owned());
        }
        for group in (1..=founding.partitions).map(GroupId) {
            let found = found.remove(&group).unwrap_or_default();
            let range = successor.range(group).expect("every partition is in the map");
            let settings = founding.settings;
            let empty = || Machine::new(settings, range.clone());
            let mut rebuilt = self.rebuild::<E>(disk, group, &found, empty).await?;
            if *rebuilt.machine.range() != range {
                return Err(RecoverError::Unfit(format!(
                    "group {group} has the range {:?}, and the range map says {range:?}",
                    rebuilt.machine.range()
                )));
            }
            if rebuilt.machine.settings().restore_epoch >= restore_epoch {
                return Err(RecoverError::Unfit(format!(
                    "group {group} is of restore epoch {}: give a --restore-epoch above it",
                    rebuilt.machine.settings().restore_epoch
                )));
            }
            rebuilt.machine.raise_restore_epoch(restore_epoch);
            records.insert(group, self.write::<E>(disk, &successor, &rebuilt.machine, group, &rebuilt).await?);
            groups.push(report_group(group, &found, &rebuilt));
            free::<E>(rebuilt.machine.into()).await;
        }
        if let Some(target) = &self.target {
            write_logs(disk, target, &successor.manifest, &records).await?;
            successor.manifest.write(disk, target).await?;
        }
        Ok(Report {
            node: self.manifest.node,
            data_dir: self.dir.clone(),
            cluster: founding.cluster,
            members: founding.members.len(),
            successor: cluster,
            restore_epoch,
            logs,
            groups,
        })
    }

    fn founding(&self) -> &Founding {
        self.manifest.founding.as_ref().expect("a pending node is not recovered")
    }

    fn epoch_after(&self, old: u16) -> Result<u16, RecoverError> {
        let lowest = old.checked_add(1).ok_or_else(|| RecoverError::Unfit("there is no restore epoch left".into()))?;
        match self.restore_epoch {
            None => Ok(lowest),
            Some(given) if given >= lowest => Ok(given),
            Some(given) => Err(RecoverError::Unfit(format!(
                "--restore-epoch {given}: the data is of restore epoch {old}; give {lowest} or more"
            ))),
        }
    }

    /// Above every replica id that anything here names.
    fn lowest_id<'a>(&self, next_replica: ReplicaId, found: impl Iterator<Item = &'a Found>) -> ReplicaId {
        let members = self.founding().members.iter().map(|member| member.replica);
        let created = found.filter_map(|found| Creation::decode(found.content.created.as_ref()?).ok());
        let created = created.flat_map(|creation| {
            let members: Vec<ReplicaId> = creation.members.iter().map(|member| member.replica).collect();
            members.into_iter().chain([creation.replica])
        });
        members
            .chain(created)
            .max()
            .map_or(ReplicaId(1), |highest| ReplicaId(highest.0.saturating_add(1)))
            .max(next_replica)
    }

    async fn rebuild<E: Env>(
        &self,
        disk: &E::Disk,
        group: GroupId,
        found: &Found,
        empty: impl Fn() -> Machine,
    ) -> Result<Rebuilt, RecoverError> {
        let dirs = self.snapshots.get(&group).map_or(&[][..], Vec::as_slice);
        rebuild::<E>(disk, group, &found.content, dirs, empty).await
    }

    async fn write<E: Env>(
        &self,
        disk: &E::Disk,
        successor: &Successor,
        machine: &Machine,
        group: GroupId,
        rebuilt: &Rebuilt,
    ) -> Result<Vec<Record>, RecoverError> {
        let Some(target) = &self.target else { return Ok(Vec::new()) };
        let index = rebuilt.last.map(|last| last.index).max(rebuilt.known).unwrap_or(0);
        let last = log_id(rebuilt.term.saturating_add(1), index);
        write_group::<E>(disk, target, &successor.creation(group), machine, last).await
    }
}

/// The report on a group.
fn report_group(group: GroupId, found: &Found, rebuilt: &Rebuilt) -> GroupReport {
    let lost_records = found.beyond.records;
    let last_index = rebuilt.last.map(|last| last.index);
    let known_index = rebuilt.known.max(found.known).max(last_index);
    let loss = match rebuilt.last {
        None => Loss::All,
        Some(_) if rebuilt.cut || lost_records > 0 || known_index > last_index => Loss::Some,
        Some(_) if found.damaged || found.shard.is_none() => Loss::Possible,
        Some(_) => Loss::None,
    };
    GroupReport {
        group,
        shard: found.shard,
        loss,
        last_index,
        snapshot_index: rebuilt.snapshot.map(|snapshot| snapshot.index),
        known_index,
        lost_records,
        records: rebuilt.machine.len() as u64,
        notes: rebuilt.notes.clone(),
    }
}

async fn write_logs<D: Disk>(
    disk: &D,
    dir: &Path,
    manifest: &Manifest,
    records: &BTreeMap<GroupId, Vec<Record>>,
) -> Result<(), RecoverError> {
    for shard in (0..manifest.shards).map(ShardId) {
        let identity = log_identity(manifest, shard);
        let (log, _) = Log::open(disk.clone(), &manifest.log_dir(dir, shard), identity, LogOptions::default()).await?;
        let owned = records.iter().filter(|(group, _)| group.shard(manifest.shards) == shard);
        let write = async {
            for (group, records) in owned {
                log.append_durable(group.0, records).await?;
            }
            log.close();
            Ok::<(), LogError>(())
        };
        future::try_join(log.run(), write).await?;
    }
    Ok(())
}
