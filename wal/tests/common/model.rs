//! What a log must hold after a course of appends, said in the plainest way; and random courses.

use std::collections::BTreeMap;

use bytes::Bytes;
use kahuna_wal::{GroupLog, LogEntry, Record};

use super::{Rng, entry};

/// The plainest possible model of a group.
pub fn apply(groups: &mut BTreeMap<u32, GroupLog>, group: u32, record: &Record) {
    if let Record::GroupDestroyed = record {
        groups.remove(&group);
        return;
    }
    let log = groups.entry(group).or_default();
    match record.clone() {
        Record::Entry { index, meta, payload } => {
            log.entries.retain(|entry| entry.index < index);
            log.entries.push_back(LogEntry { index, meta, payload });
        }
        Record::Vote(vote) => log.vote = Some(vote),
        Record::Committed(committed) => log.committed = Some(committed),
        Record::Truncate { from } => log.entries.retain(|entry| entry.index < from),
        Record::Purge { upto, log_id } => {
            if log.purged.as_ref().is_none_or(|(mark, _)| *mark <= upto) {
                log.purged = Some((upto, log_id));
            }
            log.entries.retain(|entry| entry.index > upto);
        }
        Record::Snapshot(pointer) => log.snapshot = Some(pointer),
        Record::GroupCreated(facts) => log.created = Some(facts),
        Record::GroupDestroyed | Record::Moved { .. } => unreachable!("returned above, or never appended"),
    }
}

/// Something that may be appended to a group that holds `log`.
pub fn random_record(rng: &mut Rng, log: Option<&GroupLog>) -> Record {
    let bytes = Bytes::from(rng.next().to_le_bytes().to_vec());
    let first = log.and_then(|log| log.purged.as_ref()).map_or(1, |(upto, _)| upto + 1);
    let last = log.and_then(GroupLog::last_index).unwrap_or(0).max(first - 1);
    match rng.below(100) {
        0..70 => {
            let payload_bytes = if rng.below(20) == 0 { rng.below(20_000) } else { rng.below(600) };
            let supersedes = if rng.below(10) == 0 { rng.below(5) } else { 0 };
            let index = (last + 1 - supersedes.min(last)).max(first);
            entry(index, vec![rng.next() as u8; payload_bytes as usize])
        }
        70..76 => Record::Vote(bytes),
        76..82 => Record::Committed(bytes),
        82..86 => Record::Truncate { from: first + rng.below(last + 2 - first) },
        86..94 => Record::Purge { upto: first - 1 + rng.below(last + 2 - first), log_id: bytes },
        94..96 => Record::Purge { upto: last + 100, log_id: bytes },
        96..98 => Record::Snapshot(bytes),
        98 => Record::GroupCreated(bytes),
        _ => Record::GroupDestroyed,
    }
}
