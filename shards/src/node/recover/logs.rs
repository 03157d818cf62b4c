//! The logs of a data directory, as far as they can be read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kahuna_protocol::{GroupId, ShardId};
use kahuna_wal::recovery::{GroupBeyond, Salvaged};
use kahuna_wal::{Disk, GroupLog, Log, LogOpenError};

use super::error::RecoverError;
use super::report::{Beyond, Damage, LogReport};
use crate::node::manifest::Manifest;
use crate::node::open::log_identity;
use crate::raft::encoding::Reader;
use crate::raft::snapshot::Pointer;

/// What the logs hold of one group.
#[derive(Debug, Default)]
pub struct Found {
    /// The shard of the log.
    pub shard: Option<ShardId>,
    /// What was kept of it.
    pub content: GroupLog,
    /// What was seen of it behind damage.
    pub beyond: GroupBeyond,
    /// The log is damaged.
    pub damaged: bool,
    /// The highest index that any log names.
    pub known: Option<u64>,
}

impl Found {
    /// The term and the index of the last entry kept, or of what the log counts as purged or in a snapshot.
    fn reach(&self) -> Option<(u64, u64)> {
        let GroupLog { entries, purged, snapshot, .. } = &self.content;
        let term = |meta: &[u8; 16]| u64::from_le_bytes(*meta.first_chunk().expect("sixteen bytes"));
        let last = entries.back().map(|entry| (term(&entry.meta), entry.index));
        let purged = purged.as_ref().and_then(|(_, id)| Reader::new(id, "log id").log_id().ok().flatten());
        let pointer = snapshot.as_ref().and_then(|bytes| Pointer::read(bytes).ok()).map(|pointer| pointer.last);
        last.max(purged.max(pointer).map(|id| (id.leader_id.term, id.index)))
    }

    /// Of both the log that is further by Raft's order; this one if they are equal.
    fn or(self, other: Self) -> Self {
        let known = self.known.max(other.known);
        let further = if other.reach() > self.reach() { other } else { self };
        Self { known, ..further }
    }
}

/// A log of the data directory.
struct Place {
    shard: ShardId,
    dir: PathBuf,
    given_up: bool,
}

/// The logs that are in use, then those that were given up.
fn places(dir: &Path, manifest: &Manifest) -> Vec<Place> {
    let used = |shard| Place { shard, dir: manifest.log_dir(dir, shard), given_up: false };
    let used = (0..manifest.shards).map(ShardId).map(used);
    let lost = manifest.lost_logs.iter().zip(manifest.lost_log_dirs(dir));
    used.chain(lost.map(|(lost, dir)| Place { shard: lost.shard, dir, given_up: true })).collect()
}

/// Salvages every log of the data directory. What a log held that was given up before counts where the one in its place has
/// less: the other nodes did not get to feed it.
pub async fn salvage<D: Disk>(
    disk: &D,
    dir: &Path,
    manifest: &Manifest,
) -> Result<(Vec<LogReport>, BTreeMap<GroupId, Found>), RecoverError> {
    let mut reports = Vec::new();
    let mut groups: BTreeMap<GroupId, Found> = BTreeMap::new();
    for place in places(dir, manifest) {
        let salvaged = match Log::salvage(disk, &place.dir, log_identity(manifest, place.shard)).await {
            Ok(salvaged) => salvaged,
            // The operator may remove what was given up.
            Err(LogOpenError::Missing { .. }) if place.given_up => continue,
            Err(LogOpenError::Missing { .. }) => {
                reports.push(missing(place));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let shard = Some(place.shard);
        let damaged = salvaged.damage.is_some();
        reports.push(report::<D>(place, &salvaged));
        let Salvaged { groups: mut kept, beyond, .. } = salvaged;
        // Of a group that is only behind the damage, nothing was kept.
        for group in beyond.groups.keys() {
            kept.entry(*group).or_default();
        }
        for (group, content) in kept {
            let beyond = beyond.groups.get(&group).copied().unwrap_or_default();
            let mut found = Found { shard, content, beyond, damaged, known: beyond.index };
            found.known = found.known.max(found.reach().map(|(_, index)| index));
            let found = match groups.remove(&GroupId(group)) {
                Some(before) => before.or(found),
                None => found,
            };
            groups.insert(GroupId(group), found);
        }
    }
    Ok((reports, groups))
}

fn report<D: Disk>(place: Place, salvaged: &Salvaged) -> LogReport {
    let Place { shard, dir, given_up } = place;
    let file = |segment| Log::<D>::segment_file(&dir, segment);
    let Salvaged { end, damage, beyond, .. } = salvaged;
    LogReport {
        shard,
        given_up,
        batches: end.batches,
        records: end.records,
        end: Some((file(end.position.segment), end.position.offset)),
        damage: damage.as_ref().map(|damage| Damage {
            file: file(damage.at.segment),
            offset: damage.at.offset,
            why: damage.why.clone(),
        }),
        beyond: Beyond { batches: beyond.batches, bytes: beyond.bytes, records: beyond.records },
        dir,
    }
}

fn missing(place: Place) -> LogReport {
    let Place { shard, dir, given_up } = place;
    let damage = Damage { file: dir.clone(), offset: 0, why: "the log is gone".to_owned() };
    LogReport {
        shard,
        dir,
        given_up,
        batches: 0,
        records: 0,
        end: None,
        damage: Some(damage),
        beyond: Beyond::default(),
    }
}
