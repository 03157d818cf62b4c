//! Records back into groups, in the order of the log.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::recovered::{GroupLog, LogEntry};
use crate::format::record::{GroupId, RawRecord, Record, kind};
use crate::log::Index;

/// The state of every group so far.
#[derive(Default)]
pub struct Replay {
    /// What the caller of an opening gets.
    pub groups: BTreeMap<GroupId, GroupLog>,
    /// What the log goes on with.
    pub index: Index,
}

impl Replay {
    /// Replays the `count` records of a verified batch in `segment`, or says why they cannot be the log's.
    pub fn batch(&mut self, segment: u64, count: u32, mut records: &[u8]) -> Result<(), &'static str> {
        for _ in 0..count {
            let raw = RawRecord::take(&mut records).ok_or("a verified batch holds a record of unknown form")?;
            let record = owned(&raw);
            self.index.apply(raw.group, &record, segment)?;
            if let Record::GroupDestroyed = record {
                self.groups.remove(&raw.group);
            } else {
                self.groups.entry(raw.group).or_default().apply(record);
            }
        }
        if records.is_empty() { Ok(()) } else { Err("a verified batch holds more than its records") }
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

impl GroupLog {
    fn apply(&mut self, record: Record) {
        match record {
            Record::Entry { index, meta, payload } => {
                self.truncate(index);
                self.entries.push_back(LogEntry { index, meta, payload });
            }
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Committed(committed) => self.committed = Some(committed),
            Record::Truncate { from } => self.truncate(from),
            Record::Purge { upto, log_id } => {
                if self.purged.as_ref().is_none_or(|(mark, _)| *mark <= upto) {
                    self.purged = Some((upto, log_id));
                }
                let gone = self.entries.partition_point(|entry| entry.index <= upto);
                self.entries.drain(..gone);
            }
            Record::Snapshot(pointer) => self.snapshot = Some(pointer),
            Record::GroupCreated(facts) => self.created = Some(facts),
            Record::GroupDestroyed => unreachable!("removes the group from the map"),
        }
    }

    fn truncate(&mut self, from: u64) {
        while self.entries.back().is_some_and(|entry| entry.index >= from) {
            self.entries.pop_back();
        }
    }
}
