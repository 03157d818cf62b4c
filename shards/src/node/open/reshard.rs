//! Cutting a node's logs anew for another number of shards.
//!
//! The old set of logs is read, a new set is written beside it and synced, the manifest is switched, the old set is
//! deleted. Killed anywhere before the switch, the old set is valid; after it, the new one. What is left over of the
//! other set is removed by the next start.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future;
use kahuna_protocol::{GroupId, ShardId};
use kahuna_wal::{Disk, GroupLog, Log, LogError, LogIdentity, LogOptions, Record};

use super::data_dir::DataDirError;
use super::error::{NodeStartError, ReshardError};
use super::log::log_identity;
use crate::config::NodeConfig;
use crate::node::manifest::Manifest;

/// Cuts the logs of a node for the configured number of shards, unless they are cut for it already. Nothing of another set
/// of logs may be in the data directory.
///
/// # Errors
/// `DataDir` and `Reshard` of [`NodeStartError`].
pub async fn fit_shards<D: Disk>(
    disk: &D,
    config: &NodeConfig,
    manifest: Manifest,
) -> Result<Manifest, NodeStartError> {
    let (dir, shards) = (&config.data_dir, config.shards);
    if manifest.shards == shards {
        return Ok(manifest);
    }
    if manifest.founding.is_none() {
        let manifest = Manifest { shards, ..manifest };
        manifest.write(disk, dir).await.map_err(DataDirError::from)?;
        return Ok(manifest);
    }
    let options = LogOptions { segment_bytes: config.segment_bytes, ..LogOptions::default() };
    let identity = |shard| log_identity(&manifest, shard);
    let moved = reshard(disk, dir, &manifest, shards, identity, &options).await;
    moved.map_err(|source| NodeStartError::Reshard { shards, valid: manifest.shards, source })
}

/// Moves every group's log to the shard that owns it among `shards`, and returns the manifest that names the new logs.
///
/// # Errors
/// See [`ReshardError`].
async fn reshard<D: Disk>(
    disk: &D,
    dir: &Path,
    manifest: &Manifest,
    shards: u16,
    identity: impl Fn(ShardId) -> LogIdentity,
    options: &LogOptions,
) -> Result<Manifest, ReshardError> {
    let mut groups: BTreeMap<u32, GroupLog> = BTreeMap::new();
    let existing = LogOptions { create: false, ..options.clone() };
    for shard in (0..manifest.shards).map(ShardId) {
        let opened = Log::open(disk.clone(), &manifest.log_dir(dir, shard), identity(shard), existing.clone()).await?;
        groups.extend(opened.1.groups);
        opened.0.close();
        opened.0.run().await?;
    }
    let next = Manifest { shards, log_set: manifest.log_set + 1, ..manifest.clone() };
    for shard in (0..shards).map(ShardId) {
        let (log, _) = Log::open(disk.clone(), &next.log_dir(dir, shard), identity(shard), options.clone()).await?;
        let owned = groups.iter().filter(|(group, _)| GroupId(**group).shard(shards) == shard);
        let write = async {
            for (group, content) in owned {
                log.append_durable(*group, records(content)).await?;
            }
            log.close();
            Ok::<(), LogError>(())
        };
        future::try_join(log.run(), write).await?;
    }
    next.write(disk, dir).await?;
    Ok(next)
}

/// The records that make a new log hold what `content` holds.
fn records(content: &GroupLog) -> Vec<Record> {
    let mut records = Vec::with_capacity(content.entries.len() + 5);
    records.extend(content.created.clone().map(Record::GroupCreated));
    records.extend(content.snapshot.clone().map(Record::Snapshot));
    records.extend(content.purged.clone().map(|(upto, log_id)| Record::Purge { upto, log_id }));
    records.extend(content.vote.clone().map(Record::Vote));
    records.extend(content.entries.iter().map(|entry| Record::Entry {
        index: entry.index,
        meta: entry.meta,
        payload: entry.payload.clone(),
    }));
    records.extend(content.committed.clone().map(Record::Committed));
    records
}
