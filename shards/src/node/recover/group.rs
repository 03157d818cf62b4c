//! One group's state, from the newest snapshot that verifies and the entries behind it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kahuna_machine::{ApplyError, Machine};
use kahuna_wal::{Disk, GroupLog};

use super::error::RecoverError;
use crate::env::Env;
use crate::raft::encoding::{Reader, stored_entry};
use crate::raft::snapshot::{Pointer, SnapshotFile, load};
use crate::raft::types::{LogId, Payload, Proposal};

/// A group as far as it could be rebuilt.
pub struct Rebuilt {
    /// Its state.
    pub machine: Machine,
    /// The last entry in it.
    pub last: Option<LogId>,
    /// The snapshot it began with.
    pub snapshot: Option<LogId>,
    /// The highest term that was seen.
    pub term: u64,
    /// The highest index that marks speak of, or that was kept.
    pub known: Option<u64>,
    /// What could not be used, for a person.
    pub notes: Vec<String>,
    /// Something that the log held or named could not be used.
    pub cut: bool,
}

/// Rebuilds `group` from what its log holds and from the snapshots in `dirs`. `empty` is what a group begins with.
///
/// # Errors
/// When something was written by a newer version.
pub async fn rebuild<E: Env>(
    disk: &E::Disk,
    group: u32,
    content: &GroupLog,
    dirs: &[PathBuf],
    empty: impl Fn() -> Machine,
) -> Result<Rebuilt, RecoverError> {
    let mut notes = Vec::new();
    let candidates = snapshots::<E>(disk, group, dirs, &mut notes).await?;
    // Up to, and without, an entry that cannot be applied: the state may hold a part of it, so it is built again.
    let mut limit = u64::MAX;
    loop {
        let (mut rebuilt, mut notes) = begin::<E>(&candidates, notes.clone(), &empty).await?;
        let named = read_marks(content, &mut rebuilt);
        let Err(failed) = apply(content, limit, &mut rebuilt, &mut notes)? else {
            if named > rebuilt.last {
                rebuilt.cut = true;
                notes.push("the snapshot that the log names is lost".to_owned());
            }
            rebuilt.notes = notes;
            return Ok(rebuilt);
        };
        limit = failed;
    }
}

/// Every snapshot whose header verifies, the newest first.
async fn snapshots<E: Env>(
    disk: &E::Disk,
    group: u32,
    dirs: &[PathBuf],
    notes: &mut Vec<String>,
) -> Result<Vec<SnapshotFile<E>>, RecoverError> {
    let mut found = Vec::new();
    for dir in dirs {
        let files = disk.list(dir).await.map_err(RecoverError::io(dir))?;
        for file in files.iter().filter(|file| file.name.ends_with(".snap")) {
            match SnapshotFile::<E>::open(disk, &dir.join(&file.name)).await {
                Ok(snapshot) if snapshot.header.group == group => found.push(snapshot),
                Ok(snapshot) => notes.push(format!("{} is of another group", snapshot.path.display())),
                Err(fault) if fault.is_loss() => notes.push(format!("unreadable snapshot {fault}")),
                Err(fault) => return Err(fault.into()),
            }
        }
    }
    found.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.header.last));
    Ok(found)
}

/// The state of the first candidate that verifies as a whole.
async fn begin<E: Env>(
    candidates: &[SnapshotFile<E>],
    mut notes: Vec<String>,
    empty: impl Fn() -> Machine,
) -> Result<(Rebuilt, Vec<String>), RecoverError> {
    let started = |machine, last: Option<LogId>| Rebuilt {
        machine,
        last,
        snapshot: last,
        term: last.map_or(0, |last| last.leader_id.term),
        known: last.map(|last| last.index),
        notes: Vec::new(),
        cut: false,
    };
    for snapshot in candidates {
        match load(snapshot).await {
            Ok(machine) => return Ok((started(machine, Some(snapshot.header.last)), notes)),
            Err(fault) if fault.is_loss() => notes.push(format!("unreadable snapshot {fault}")),
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok((started(empty(), None), notes))
}

/// Takes in what votes and marks say of terms and indices; returns how far the snapshot reaches that the log names.
fn read_marks(content: &GroupLog, rebuilt: &mut Rebuilt) -> Option<LogId> {
    let mut learn = |term: u64, index: Option<u64>| {
        rebuilt.term = rebuilt.term.max(term);
        rebuilt.known = rebuilt.known.max(index);
    };
    if let Some(vote) = content.vote.as_ref().and_then(|bytes| Reader::new(bytes, "vote").vote().ok()) {
        learn(vote.leader_id.term, None);
    }
    let marks = [content.committed.as_ref(), content.purged.as_ref().map(|(_, id)| id)];
    for id in marks.into_iter().flatten().filter_map(|bytes| Reader::new(bytes, "log id").log_id().ok().flatten()) {
        learn(id.leader_id.term, Some(id.index));
    }
    let pointer = content.snapshot.as_ref().and_then(|bytes| Pointer::read(bytes).ok());
    if let Some(pointer) = pointer {
        learn(pointer.last.leader_id.term, Some(pointer.last.index));
    }
    pointer.map(|pointer| pointer.last)
}

/// Applies the entries behind the snapshot. The inner error is the index of one that cannot be applied.
fn apply(
    content: &GroupLog,
    limit: u64,
    rebuilt: &mut Rebuilt,
    notes: &mut Vec<String>,
) -> Result<Result<(), u64>, RecoverError> {
    rebuilt.known = rebuilt.known.max(content.entries.back().map(|entry| entry.index));
    for stored in &content.entries {
        let next = rebuilt.last.map_or(0, |last| last.index + 1);
        if stored.index < next {
            continue;
        }
        if stored.index > next || stored.index >= limit {
            rebuilt.cut = true;
            notes.push(match stored.index == limit {
                true => format!("entry {limit} cannot be applied; it and what follows is not used"),
                false => format!("entries {next} to {} are lost; what follows is not used", stored.index - 1),
            });
            break;
        }
        let Ok(entry) = stored_entry(stored.index, &stored.meta, stored.payload.clone()) else {
            return Ok(Err(stored.index));
        };
        if let Payload::Normal(Proposal(batch)) = &entry.payload {
            match rebuilt.machine.apply(batch) {
                Ok(_) => {}
                Err(ApplyError::Damaged { .. }) => return Ok(Err(stored.index)),
                Err(newer @ ApplyError::UnknownKind { .. }) => {
                    return Err(RecoverError::Unfit(format!("entry {}: {newer}", entry.log_id)));
                }
            }
        }
        rebuilt.last = Some(entry.log_id);
        rebuilt.term = rebuilt.term.max(entry.log_id.leader_id.term);
    }
    Ok(Ok(()))
}

/// The directories of a data directory that hold snapshots of each group, whatever its replica was called.
pub fn snapshot_dirs(dir: &Path) -> std::io::Result<BTreeMap<u32, Vec<PathBuf>>> {
    let mut found: BTreeMap<u32, Vec<PathBuf>> = BTreeMap::new();
    let entries = match std::fs::read_dir(dir.join("snapshots")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let group = name.strip_prefix("group-").and_then(|rest| rest.split_once("-replica-"));
        if let Some(Ok(group)) = group.map(|(group, _)| group.parse())
            && path.is_dir()
        {
            found.entry(group).or_default().push(path);
        }
    }
    found.values_mut().for_each(|dirs| dirs.sort());
    Ok(found)
}
