//! Records back into groups, in the order of the log.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::recovered::{GroupLog, LogEntry};
use crate::format::FIRST_VERSION_WITH_MOVED;
use crate::format::Position;
use crate::format::record::{GroupId, RawRecord, Record, kind};
use crate::log::{EntryPlace, Hole, Index};

/// The state of every group so far.
#[derive(Default)]
pub struct Replay {
    groups: BTreeMap<GroupId, Replayed>,
    /// The index that the opened log starts with.
    index: Index,
}

/// A group so far. Recovery may begin between an entry and the copies of older ones, so entries come in any order.
#[derive(Default)]
struct Replayed {
    marks: GroupLog,
    entries: BTreeMap<u64, LogEntry>,
}

impl Replay {
    /// Replays the `count` records of the verified batch at `batch`, in a segment of format `version`, or returns why they
    /// cannot be the log's.
    pub fn batch(&mut self, batch: Position, version: u32, count: u32, mut records: &[u8]) -> Result<(), &'static str> {
        for _ in 0..count {
            let raw = RawRecord::take(&mut records).ok_or("a verified batch holds a record of unknown form")?;
            if raw.kind == kind::MOVED && version < FIRST_VERSION_WITH_MOVED {
                return Err("a verified batch holds a record that its format version does not know");
            }
            let record = owned(&raw);
            self.index.replay(raw.group, &record, EntryPlace::of(&record, batch))?;
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

    /// The groups for the caller of an opening, and the index that the log starts with. Entries above a hole are left out.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FORMAT_VERSION;

    fn entry(index: u64) -> Record {
        Record::Entry { index, meta: [1; 16], payload: Bytes::from(index.to_string()) }
    }

    fn moved(index: u64) -> Record {
        Record::Moved { index, meta: [1; 16], payload: Bytes::from(index.to_string()) }
    }

    fn purge(upto: u64) -> Record {
        Record::Purge { upto, log_id: Bytes::new() }
    }

    fn replay(to: &mut Replay, version: u32, records: &[Record]) -> Result<(), &'static str> {
        let mut bytes = Vec::new();
        records.iter().for_each(|record| bytes.extend(record.encoded(1)));
        to.batch(Position::first_in(4), version, records.len() as u32, &bytes)
    }

    fn indices(replay: Replay) -> Vec<u64> {
        replay.finish().0[&1].entries.iter().map(|entry| entry.index).collect()
    }

    #[test]
    fn copies_may_come_before_and_after_entries_above_them() {
        let mut log = Replay::default();
        replay(&mut log, FORMAT_VERSION, &[moved(3), moved(4), entry(7), moved(5)]).expect("holes may close");
        let hole = Hole { group: 1, below: 5, above: 7, at: Position::first_in(4) };
        assert_eq!(log.hole(), Some(hole));
        replay(&mut log, FORMAT_VERSION, &[moved(6), moved(7), entry(8)]).expect("the hole closes");
        assert_eq!((log.hole(), indices(log)), (None, vec![3, 4, 5, 6, 7, 8]));
    }

    #[test]
    fn what_stands_above_a_hole_is_left_out() {
        let mut log = Replay::default();
        replay(&mut log, FORMAT_VERSION, &[moved(3), entry(7), entry(8)]).expect("holes may close");
        assert_eq!(indices(log), [3]);
    }

    #[test]
    fn a_copy_supersedes_nothing_and_adds_nothing_below_the_purge_mark() {
        let mut log = Replay::default();
        replay(&mut log, FORMAT_VERSION, &[entry(1), entry(2), entry(3), moved(2), purge(1), moved(1)]).expect("valid");
        assert_eq!(indices(log), [2, 3]);
    }

    #[test]
    fn a_copy_that_differs_or_that_the_version_does_not_know_is_refused() {
        let mut log = Replay::default();
        let other = Record::Moved { index: 1, meta: [2; 16], payload: Bytes::from_static(b"1") };
        assert!(replay(&mut log, FORMAT_VERSION, &[entry(1), other]).is_err());
        assert!(replay(&mut Replay::default(), 1, &[moved(1)]).is_err());
        assert!(replay(&mut Replay::default(), 1, &[entry(1)]).is_ok());
    }
}
