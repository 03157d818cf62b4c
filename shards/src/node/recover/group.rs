//! One group's state, from the newest snapshot that verifies and the entries behind it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kahuna_machine::{ApplyError, Machine};
use kahuna_protocol::GroupId;
use kahuna_wal::{Disk, GroupLog};

use super::error::RecoverError;
use crate::env::Env;
use crate::raft::encoding::{Reader, stored_entry};
use crate::raft::snapshot::{Pointer, SnapshotFile, load};
use crate::raft::types::{LogId, Payload, Proposal};

/// A group as far as it could be rebuilt.
pub struct Rebuilt {
    pub machine: Machine,
    /// The last entry in it.
    pub last: Option<LogId>,
    /// The snapshot it began with.
    pub snapshot: Option<LogId>,
    /// The highest term that was seen.
    pub term: u64,
    /// The highest index that marks name, or that was kept.
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
    group: GroupId,
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
    group: GroupId,
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

/// Takes in the terms and indices of votes and marks; returns the last log id of the snapshot that the log names.
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
        if rebuilt.last.is_some_and(|last| last.leader_id > entry.log_id.leader_id) {
            rebuilt.cut = true;
            notes.push(format!("entry {next} is older than the snapshot before it; it and what follows is not used"));
            break;
        }
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

/// The directories of a data directory that hold snapshots of each group, under any replica id.
pub fn snapshot_dirs(dir: &Path) -> std::io::Result<BTreeMap<GroupId, Vec<PathBuf>>> {
    let mut found: BTreeMap<GroupId, Vec<PathBuf>> = BTreeMap::new();
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
            found.entry(GroupId(group)).or_default().push(path);
        }
    }
    found.values_mut().for_each(|dirs| dirs.sort());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kahuna_machine::Range;
    use kahuna_protocol::batch::BatchBuilder;
    use kahuna_protocol::key::{Condition, KeySet};
    use kahuna_protocol::meta::Settings;
    use kahuna_protocol::{Hlc, Request, RequestPrelude};
    use kahuna_wal::{LogEntry, UringDisk, block_on};

    use super::*;
    use crate::linux::Linux;
    use crate::raft::encoding::{entry_meta, entry_payload};
    use crate::raft::types::{Entry, log_id};

    /// Sets a key of its own.
    fn entry(term: u64, index: u64) -> LogEntry {
        let key = format!("key-{index}").into_bytes();
        let set = KeySet { key, value: vec![1], ttl_ms: None, condition: Condition::default(), no_history: false };
        let request = Request::from(set);
        let mut body = Vec::new();
        request.encode_body(&mut body);
        let mut batch = BatchBuilder::new();
        batch.push(request.kind(), 0, &RequestPrelude::default(), &body);
        let batch = batch.finish(Hlc::from_millis(1_000 + index));
        let entry = Entry { log_id: log_id(term, index), payload: Payload::Normal(Proposal(batch)) };
        LogEntry { index, meta: entry_meta(&entry), payload: entry_payload(&entry.payload) }
    }

    fn rebuilt(entries: impl IntoIterator<Item = LogEntry>) -> Rebuilt {
        let content = GroupLog { entries: entries.into_iter().collect(), ..GroupLog::default() };
        let disk = UringDisk::new(8).expect("io_uring is allowed here");
        let empty = || Machine::new(Settings::default(), Range::all(1));
        let rebuilt = block_on(&disk, rebuild::<Linux>(&disk, GroupId(1), &content, &[], empty));
        rebuilt.unwrap_or_else(|error| panic!("{error}"))
    }

    fn outcome(rebuilt: &Rebuilt) -> (Option<u64>, usize, bool) {
        (rebuilt.last.map(|last| last.index), rebuilt.machine.len(), rebuilt.cut)
    }

    #[test]
    fn entries_are_used_up_to_the_first_hole() {
        let whole = rebuilt((0..5).map(|index| entry(2, index)));
        assert_eq!((outcome(&whole), whole.term), ((Some(4), 5, false), 2));
        let holed = rebuilt([0, 1, 4, 5].map(|index| entry(1, index)));
        assert_eq!((outcome(&holed), holed.known), ((Some(1), 2, true), Some(5)));
        let headless = rebuilt((7..9).map(|index| entry(1, index)));
        assert_eq!((outcome(&headless), headless.known), ((None, 0, true), Some(8)));
        let backwards = rebuilt([entry(3, 0), entry(2, 1)]);
        assert_eq!((outcome(&backwards), backwards.term), ((Some(0), 1, true), 3));
    }

    #[test]
    fn what_cannot_be_applied_leaves_no_trace() {
        for garble in [
            |entry: &mut LogEntry| entry.payload = Bytes::from_static(b"no batch"),
            |entry: &mut LogEntry| entry.meta[8] = 77,
        ] {
            let mut entries: Vec<LogEntry> = (0..6).map(|index| entry(1, index)).collect();
            garble(&mut entries[3]);
            let cut = rebuilt(entries);
            assert_eq!((outcome(&cut), cut.known), ((Some(2), 3, true), Some(5)));
            assert!(cut.notes.iter().any(|note| note.contains("entry 3")), "{:?}", cut.notes);
        }
    }
}
