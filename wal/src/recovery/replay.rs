//! Records back into groups, in the order of the log.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::recovered::{GroupLog, LogEntry};
use crate::format::FIRST_VERSION_WITH_MOVED;
use crate::format::Position;
use crate::format::record::{GroupId, RawRecord, Record, kind};
use crate::log::{Hole, Index};

/// The state of every group so far.
#[derive(Default)]
pub struct Replay {
    groups: BTreeMap<GroupId, Replayed>,
    /// What the log goes on with.
    index: Index,
}

/// A group so far. Recovery may begin between an entry and the copies of older ones, so entries come in any order.
#[derive(Default)]
struct Replayed {
    marks: GroupLog,
    entries: BTreeMap<u64, LogEntry>,
}

impl Replay {
    /// Replays the `count` records of the verified batch at `batch`, in a segment of format `version`, or says why they cannot
    /// be the log's.
    pub fn batch(&mut self, batch: Position, version: u32, count: u32, mut records: &[u8]) -> Result<(), &'static str> {
        for _ in 0..count {
            let raw = RawRecord::take(&mut records).ok_or("a verified batch holds a record of unknown form")?;
            if raw.kind == kind::MOVED && version < FIRST_VERSION_WITH_MOVED {
                return Err("a verified batch holds a record that its format version does not know");
            }
            let record = owned(&raw);
            self.index.replay(raw.group, &record, batch)?;
            if let Record::GroupDestroyed = record {
                self.groups.remove(&raw.group);
            } else {
                self.groups.entry(raw.group).or_default().apply(record)?;
            }
        }
        if records.is_empty() { Ok(()) } else { Err("a verified batch holds more than its records") }
    }

    /// The first hole between the entries of a group, if there is one now.
    pub fn hole(&self) -> Option<Hole> {
        self.index.hole()
    }

    /// What the caller of an opening gets, and what the log goes on with. Entries above a hole are left out.
    pub fn finish(self) -> (BTreeMap<GroupId, GroupLog>, Index) {
        let groups = self.groups.into_iter().map(|(group, replayed)| (group, replayed.contiguous()));
        (groups.collect(), self.index)
    }
}

fn owned(raw: &RawRecord<'_>) -> Record {
    let body = || Bytes::copy_from_slice(raw.body);
    match raw.kind {
        kind::ENTRY => {
            let (meta, payload) = raw.entry();
            // A copy: a slice would keep a whole segment in memory for one small entry.
            Record::Entry { index: raw.index, meta, payload: Bytes::copy_from_slice(payload) }
        }
        kind::MOVED => {
            let (meta, payload) = raw.entry();
            Record::Moved { index: raw.index, meta, payload: Bytes::copy_from_slice(payload) }
        }
        kind::VOTE => Record::Vote(body()),
        kind::COMMITTED => Record::Committed(body()),
        kind::TRUNCATE => Record::Truncate { from: raw.index },
        kind::PURGE => Record::Purge { upto: raw.index, log_id: body() },
        kind::SNAPSHOT => Record::Snapshot(body()),
        kind::GROUP_CREATED => Record::GroupCreated(body()),
        kind::GROUP_DESTROYED => Record::GroupDestroyed,
        _ => unreachable!("`RawRecord::take` refuses unknown kinds"),
    }
}

impl Replayed {
    fn contiguous(self) -> GroupLog {
        let mut entries = VecDeque::with_capacity(self.entries.len());
        for entry in self.entries.into_values() {
            if entries.back().is_some_and(|last: &LogEntry| last.index.checked_add(1) != Some(entry.index)) {
                break;
            }
            entries.push_back(entry);
        }
        GroupLog { entries, ..self.marks }
    }

    fn apply(&mut self, record: Record) -> Result<(), &'static str> {
        let marks = &mut self.marks;
        match record {
            Record::Entry { index, meta, payload } => {
                self.truncate(index);
                self.entries.insert(index, LogEntry { index, meta, payload });
            }
            Record::Moved { index, meta, payload } => {
                if marks.purged.as_ref().is_some_and(|(upto, _)| index <= *upto) {
                    return Ok(());
                }
                let copy = LogEntry { index, meta, payload };
                if *self.entries.entry(index).or_insert_with(|| copy.clone()) != copy {
                    return Err("a copy of an entry that differs from it");
                }
            }
            Record::Vote(vote) => marks.vote = Some(vote),
            Record::Committed(committed) => marks.committed = Some(committed),
            Record::Truncate { from } => self.truncate(from),
            Record::Purge { upto, log_id } => {
                if marks.purged.as_ref().is_none_or(|(mark, _)| *mark <= upto) {
                    marks.purged = Some((upto, log_id));
                }
                while self.entries.first_entry().is_some_and(|first| *first.key() <= upto) {
                    self.entries.pop_first();
                }
            }
            Record::Snapshot(pointer) => marks.snapshot = Some(pointer),
            Record::GroupCreated(facts) => marks.created = Some(facts),
            Record::GroupDestroyed => unreachable!("removes the group from the map"),
        }
        Ok(())
    }

    fn truncate(&mut self, from: u64) {
        while self.entries.last_entry().is_some_and(|last| *last.key() >= from) {
            self.entries.pop_last();
        }
    }
}
