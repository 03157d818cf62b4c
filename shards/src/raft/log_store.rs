//! openraft's log storage over the shard's shared log.
//!
//! One writer and one order: a group's vote, entries, truncations and purges go through the same queue of the shared log,
//! and completed flushes are reported in the order of submission. openraft relies on it: a vote that overtook an append, or
//! the reverse, could lose committed entries.
//!
//! A failed write ends the process: what the disk then holds is unknown, and a replica that goes on might acknowledge it.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::GroupId;
use kahuna_wal::{GroupLog, Log, LogError, Record, Space};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{LogIdOptionExt, OptionalSend, RaftLogReader};

use super::encoding::{Malformed, Reader, entry_meta, entry_payload, log_id_bytes, stored_entry, vote_bytes};
use super::entries::Entries;
use super::own_flush::{OwnFlush, Written};
use super::snapshot::TimeSlice;
use super::types::{Entry, LogId, Payload, StoredMembership, Types, Vote};
use crate::env::{Env, ExitCode};

/// One group's part of the shared log. Clones are handles to the same part.
pub struct LogStore<E: Env> {
    shared: Rc<Shared<E>>,
}

struct Shared<E: Env> {
    group: GroupId,
    log: Log<E::Disk>,
    entries: RefCell<Entries>,
    /// As far as it is durable.
    vote: Cell<Option<Vote>>,
    committed: Cell<Option<LogId>>,
    own_flush: Rc<OwnFlush<E>>,
}

impl<E: Env> Clone for LogStore<E> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<E: Env> LogStore<E> {
    /// Takes over what `log` holds of `group`.
    ///
    /// # Errors
    /// `Malformed` when a record cannot be read as its kind: another version wrote it.
    pub fn new(group: GroupId, log: Log<E::Disk>, recovered: GroupLog) -> Result<Self, Malformed> {
        let log_id = |bytes: &Bytes| Reader::new(bytes, "log id").log_id();
        let vote = recovered.vote.map(|bytes| Reader::new(&bytes, "vote").vote()).transpose()?;
        let committed = recovered.committed.as_ref().map(log_id).transpose()?.flatten();
        let purged = recovered.purged.map(|mark| purge_mark(&mark)).transpose()?;
        let first = recovered.entries.front().map(|entry| entry.index);
        if first.is_some_and(|first| first != purged.map_or(0, |purged| purged.index + 1)) {
            return Err(Malformed("first entry behind its purge mark"));
        }
        let entries = recovered.entries.into_iter().map(|entry| stored_entry(entry.index, &entry.meta, entry.payload));
        let entries = Entries::new(purged, entries.collect::<Result<Vec<_>, _>>()?);
        let shared = Shared {
            group,
            log,
            entries: RefCell::new(entries),
            vote: Cell::new(vote),
            committed: Cell::new(committed),
            own_flush: Rc::default(),
        };
        Ok(Self { shared: Rc::new(shared) })
    }

    /// True if neither a vote nor an entry was ever stored.
    pub fn is_pristine(&self) -> bool {
        self.shared.vote.get().is_none() && self.shared.entries.borrow().is_pristine()
    }

    /// The vote, as far as it is durable.
    pub fn vote(&self) -> Option<Vote> {
        self.shared.vote.get()
    }

    /// The last entry that was handed on to be applied.
    pub fn committed(&self) -> Option<LogId> {
        self.shared.committed.get()
    }

    /// When openraft learns that entries are durable here.
    pub(super) fn own_flush(&self) -> &Rc<OwnFlush<E>> {
        &self.shared.own_flush
    }

    /// How much room the shard's log has.
    pub fn space(&self) -> Space {
        self.shared.log.space()
    }

    /// The entries in memory, for a moment.
    pub fn with_entries<T>(&self, look: impl FnOnce(&Entries) -> T) -> T {
        look(&self.shared.entries.borrow())
    }

    /// The newest membership in the unpurged log, committed or not.
    pub fn last_membership(&self) -> Option<StoredMembership> {
        let entries = self.shared.entries.borrow();
        let mut memberships = entries.range(..).filter_map(|entry| match &entry.payload {
            Payload::Membership(membership) => Some(StoredMembership::new(Some(entry.log_id), membership.clone())),
            _ => None,
        });
        memberships.next().map(|first| memberships.last().unwrap_or(first))
    }

    /// Makes `pointer` the group's snapshot pointer; returns when it is durable.
    pub async fn save_snapshot_pointer(&self, pointer: Bytes) -> io::Result<()> {
        self.durable([Record::Snapshot(pointer)]).await
    }

    async fn durable(&self, records: impl AsRef<[Record]>) -> io::Result<()> {
        let outcome = self.shared.log.append_durable(self.shared.group.0, records).await;
        self.shared.abort_if_failed(outcome)
    }
}

/// The log id of a purge mark, which is that of the last entry that was purged.
fn purge_mark((upto, bytes): &(u64, Bytes)) -> Result<LogId, Malformed> {
    let id = Reader::new(bytes, "purge mark").log_id()?;
    id.filter(|id| id.index == *upto).ok_or(Malformed("purge mark"))
}

impl<E: Env> Shared<E> {
    /// Ends the process if the disk failed. Other errors (the log was closed) go to openraft.
    fn abort_if_failed(&self, outcome: Result<(), LogError>) -> io::Result<()> {
        if let Err(error @ LogError::Failed { .. }) = &outcome {
            let text = format!("group {}: {error}; restart the node once the disk is mended", self.group);
            E::abort(ExitCode::DiskFailed, &text);
        }
        outcome.map_err(io::Error::from)
    }
}

impl<E: Env> RaftLogReader<Types<E>> for LogStore<E> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        Ok(self.shared.entries.borrow().range(range).cloned().collect())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        Ok(self.shared.entries.borrow().bounded(start, end))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.shared.vote.get())
    }
}

impl<E: Env> RaftLogStorage<Types<E>> for LogStore<E> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types<E>>> {
        let entries = self.shared.entries.borrow();
        Ok(LogState { last_purged_log_id: entries.purged(), last_log_id: entries.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.durable([Record::Vote(vote_bytes(vote))]).await?;
        self.shared.vote.set(Some(*vote));
        Ok(())
    }

    /// Does not wait for the flush: a restart that finds an older mark applies less, and gets the rest from the leader.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if committed != self.shared.committed.get() {
            self.shared.committed.set(committed);
            let record = Record::Committed(log_id_bytes(committed.as_ref()));
            self.shared.log.append_lazily(self.shared.group.0, [record]);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.shared.committed.get())
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types<E>>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        let mut written = Written::new();
        let mut memory = self.shared.entries.borrow_mut();
        for entry in entries {
            self.shared.own_flush.begins(&entry, &mut written);
            records.push(Record::Entry {
                index: entry.log_id.index,
                meta: entry_meta(&entry),
                payload: entry_payload(&entry.payload),
            });
            memory.push(entry);
        }
        drop(memory);
        let shared = self.shared.clone();
        let on_durable = move |outcome| {
            shared.own_flush.ended(written, shared.vote.get(), flushed, shared.abort_if_failed(outcome));
        };
        self.shared.log.append(self.shared.group.0, records, on_durable);
        Ok(())
    }

    /// Does not wait for the flush: a crash that loses a truncation loses the appends behind it as well, and leaves entries
    /// that were never committed.
    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.next_index();
        self.shared.entries.borrow_mut().truncate(from);
        self.shared.log.append_lazily(self.shared.group.0, [Record::Truncate { from }]);
        Ok(())
    }

    /// Not waited for: what is purged is in a snapshot whose pointer is durable.
    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.shared.entries.borrow_mut().purge(upto);
        let record = Record::Purge { upto: upto.index, log_id: log_id_bytes(Some(&upto)) };
        self.shared.log.append_lazily(self.shared.group.0, [record]);
        self.shared.log.release();
        let shared = self.shared.clone();
        E::spawn(async move {
            let mut slice = TimeSlice::<E>::begin();
            while shared.entries.borrow_mut().free_purged() {
                slice.step().await;
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::log_id;
    use super::*;

    #[test]
    fn a_purge_mark_is_the_log_id_of_its_last_entry() {
        let mark = |upto, id: Option<&LogId>| purge_mark(&(upto, log_id_bytes(id)));
        let last = log_id(3, 900);
        assert_eq!(mark(900, Some(&last)), Ok(last));
        for (upto, id) in [(901, Some(&last)), (899, Some(&last)), (900, None), (0, None)] {
            assert_eq!(mark(upto, id), Err(Malformed("purge mark")), "{upto}");
        }
        let beyond = log_id(3, u64::MAX);
        assert!(mark(u64::MAX, Some(&beyond)).is_err());
    }
}
