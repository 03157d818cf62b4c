//! The logs of a data directory, as far as they can be read.

use std::collections::BTreeMap;
use std::path::Path;

use kahuna_wal::recovery::{GroupBeyond, Salvaged};
use kahuna_wal::{Disk, GroupLog, Log, OpenError};

use super::error::RecoverError;
use super::report::{Beyond, Damage, LogReport};
use crate::node::groups::log_identity;
use crate::node::manifest::Manifest;
use crate::raft::encoding::Reader;

/// What the logs hold of one group.
#[derive(Debug, Default)]
pub struct Found {
    /// The shard of the log.
    pub shard: Option<u16>,
    /// What was kept of it.
    pub content: GroupLog,
    /// What was seen of it behind damage.
    pub beyond: GroupBeyond,
    /// The log is damaged.
    pub damaged: bool,
}

impl Found {
    /// The term and the index of the last entry kept, or of the snapshot that the log names.
    fn reach(&self) -> (u64, u64) {
        let term = |meta: &[u8; 16]| u64::from_le_bytes(*meta.first_chunk().expect("sixteen bytes"));
        let last = self.content.entries.back().map(|entry| (term(&entry.meta), entry.index));
        let purged = self.content.purged.as_ref().and_then(|(_, id)| Reader::new(id, "log id").log_id().ok().flatten());
        last.or(purged.map(|id| (id.leader_id.term, id.index))).unwrap_or_default()
    }
}

/// Salvages every log of the data directory. What a log held that was given up before counts where the one in its place has
/// less: the other nodes did not get to feed it.
pub async fn salvage<D: Disk>(
    disk: &D,
    dir: &Path,
    manifest: &Manifest,
) -> Result<(Vec<LogReport>, BTreeMap<u32, Found>), RecoverError> {
    let mut reports = Vec::new();
    let mut groups: BTreeMap<u32, Found> = BTreeMap::new();
    let valid = (0..manifest.shards).map(|shard| (shard, manifest.log_dir(dir, shard), true));
    let lost = manifest.lost_logs.iter().zip(manifest.lost_log_dirs(dir)).map(|(lost, dir)| (lost.shard, dir, false));
    for (shard, log_dir, is_valid) in valid.chain(lost) {
        let salvaged = match Log::salvage(disk, &log_dir, log_identity(manifest, shard)).await {
            Ok(salvaged) => salvaged,
            Err(OpenError::Missing { .. }) if !is_valid => continue,
            Err(OpenError::Missing { dir }) => {
                reports.push(missing(shard, &dir));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let report = report::<D>(shard, &log_dir, &salvaged);
        let mut of_use = is_valid;
        let Salvaged { groups: kept, mut beyond, damage, .. } = salvaged;
        let damaged = damage.is_some();
        for (group, content) in kept {
            let beyond = beyond.groups.remove(&group).unwrap_or_default();
            let found = Found { shard: Some(shard), content, beyond, damaged };
            if groups.get(&group).is_none_or(|known| known.reach() < found.reach()) {
                groups.insert(group, found);
                of_use = true;
            }
        }
        for (group, beyond) in beyond.groups {
            let found = Found { shard: Some(shard), content: GroupLog::default(), beyond, damaged };
            groups.entry(group).or_insert(found);
        }
        if of_use {
            reports.push(report);
        }
    }
    Ok((reports, groups))
}

fn report<D: Disk>(shard: u16, dir: &Path, salvaged: &Salvaged) -> LogReport {
    let file = |segment| Log::<D>::segment_file(dir, segment);
    let Salvaged { end, damage, beyond, .. } = salvaged;
    LogReport {
        shard,
        dir: dir.to_owned(),
        batches: end.batches,
        records: end.records,
        end: Some((file(end.position.segment), end.position.offset)),
        damage: damage.as_ref().map(|damage| Damage {
            file: file(damage.at.segment),
            offset: damage.at.offset,
            why: damage.why.clone(),
        }),
        beyond: Beyond { batches: beyond.batches, bytes: beyond.bytes, records: beyond.records },
    }
}

fn missing(shard: u16, dir: &Path) -> LogReport {
    let why = "the log is gone".to_owned();
    LogReport {
        shard,
        dir: dir.to_owned(),
        batches: 0,
        records: 0,
        end: None,
        damage: Some(Damage { file: dir.to_owned(), offset: 0, why }),
        beyond: Beyond::default(),
    }
}
