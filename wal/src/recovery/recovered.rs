//! The answer of an opening: every group's state, and what was found on the way.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::format::Position;
use crate::format::record::{EntryMeta, GroupId};

/// One entry of a group, as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Raft index, from 1.
    pub index: u64,
    /// What stood beside the payload.
    pub meta: EntryMeta,
    /// Bytes as they were appended.
    pub payload: Bytes,
}

/// Everything the log holds of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupLog {
    /// The facts of the last `GroupCreated`, if there was one.
    pub created: Option<Bytes>,
    /// Vote of the last `Vote` record; `None` if the group never voted.
    pub vote: Option<Bytes>,
    /// The newest committed mark.
    pub committed: Option<Bytes>,
    /// The highest purge mark: index, and log id as given.
    pub purged: Option<(u64, Bytes)>,
    /// The newest snapshot pointer.
    pub snapshot: Option<Bytes>,
    /// The live entries: contiguous, in order, the first one right behind the purge mark, if there is one. In what was
    /// [salvaged](crate::recovery::Salvaged) there may be a hole in between.
    pub entries: VecDeque<LogEntry>,
}

impl GroupLog {
    /// The index of the last entry, or of the purge mark when there is none.
    pub fn last_index(&self) -> Option<u64> {
        self.entries.back().map(|entry| entry.index).or(self.purged.as_ref().map(|(upto, _)| *upto))
    }
}

/// What [`Log::open`](crate::Log::open) found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Every group that was not destroyed.
    pub groups: BTreeMap<GroupId, GroupLog>,
    /// What was found on the way.
    pub report: RecoveryReport,
}

/// The course of a recovery, for the operator's log line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// No log was there: a new one was made.
    pub fresh: bool,
    /// The run that this opening began.
    pub run: u64,
    /// Segments that were replayed.
    pub segments: u64,
    /// Batches that were replayed.
    pub batches: u64,
    /// Records that were replayed.
    pub records: u64,
    /// Where the log went on: the first byte behind the last batch.
    pub end: Position,
    /// Whether bytes behind `end` looked like an unfinished write and were cut off.
    pub torn: bool,
    /// Names of files in the directory that are not the log's. They were left alone.
    pub strays: Vec<String>,
}
