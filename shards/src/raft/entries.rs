//! The unpurged entries of a group, in memory: every read of the log is served from here.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use super::encoding::entry_payload;
use super::types::{Entry, LogId};
use super::window::Window;

/// The most bytes of payload that one read for replication gives, unless a single entry is larger.
pub const READ_BYTES: usize = 1 << 20;

/// Bytes that an entry costs beside its payload: log record, queue slot.
const OVERHEAD_BYTES: u64 = 64;

/// What is freed at once of purged entries: so many, or so many bytes.
const FREED_ENTRIES: usize = 256;
const FREED_BYTES: u64 = 1 << 20;

/// A contiguous window of the log.
///
/// Purged entries go from the window at once and from memory in steps: freeing hundreds of megabytes takes the system
/// long enough to hold up the shard.
#[derive(Debug, Default)]
pub struct Entries {
    /// The last entry that was purged.
    purged: Option<LogId>,
    /// Each index is one above that of the entry before it. It may begin with purged ones.
    window: Window<Entry>,
    /// Windows of purged entries only.
    purged_windows: VecDeque<Window<Entry>>,
}

/// What `entry` costs in log and memory, in bytes.
pub fn cost(entry: &Entry) -> u64 {
    entry_payload(&entry.payload).len() as u64 + OVERHEAD_BYTES
}

impl Entries {
    /// The entries behind `purged`.
    pub fn new(purged: Option<LogId>, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut this = Self { purged, ..Self::default() };
        entries.into_iter().for_each(|entry| this.push(entry));
        this
    }

    /// Adds an entry; it supersedes what stands at its index and above.
    pub fn push(&mut self, entry: Entry) {
        self.truncate(entry.log_id.index);
        if let Some(last) = self.window.back() {
            assert_eq!(last.log_id.index + 1, entry.log_id.index, "the log has no holes");
        }
        self.window.push_back(entry);
    }

    /// Drops the entries at `from` and above.
    pub fn truncate(&mut self, from: u64) {
        while self.window.back().is_some_and(|last| last.log_id.index >= from) {
            self.window.pop_back();
        }
    }

    /// Drops the entries up to `upto`, which may lie beyond the last one; [`free_purged`](Self::free_purged) frees them.
    pub fn purge(&mut self, upto: LogId) {
        self.purged = self.purged.max(Some(upto));
        if self.window.back().is_some_and(|last| last.log_id.index <= upto.index) {
            self.purged_windows.push_back(std::mem::take(&mut self.window));
        }
    }

    /// Frees some purged entries; whether there are more.
    pub fn free_purged(&mut self) -> bool {
        let purged = self.purged.map_or(0, |purged| purged.index + 1);
        let mut bytes = 0;
        for _ in 0..FREED_ENTRIES {
            let freed = match self.purged_windows.front_mut() {
                Some(window) => window.pop_front(),
                None if self.window.front().is_some_and(|first| first.log_id.index < purged) => self.window.pop_front(),
                None => None,
            };
            match freed {
                Some(entry) => bytes += cost(&entry),
                None if self.purged_windows.pop_front().is_none() => return false,
                None => {}
            }
            if bytes >= FREED_BYTES {
                break;
            }
        }
        true
    }

    /// Copies of the entries in `range`.
    pub fn range(&self, range: impl RangeBounds<u64>) -> impl Iterator<Item = &Entry> {
        let front = self.window.front().map_or(0, |front| front.log_id.index);
        let first = self.first_index();
        let offset = |index: u64| usize::try_from(index.max(first) - front).unwrap_or(usize::MAX);
        let start = match range.start_bound() {
            Bound::Included(&index) => offset(index),
            Bound::Excluded(&index) => offset(index.saturating_add(1)),
            Bound::Unbounded => offset(first),
        };
        let end = match range.end_bound() {
            Bound::Included(&index) => offset(index.saturating_add(1)),
            Bound::Excluded(&index) => offset(index),
            Bound::Unbounded => usize::MAX,
        };
        let end = end.min(self.window.len());
        (start..end).filter_map(|at| self.window.get(at))
    }

    /// Copies of the first entries in `start..end`: at least one if there is one, then up to [`READ_BYTES`].
    pub fn bounded(&self, start: u64, end: u64) -> Vec<Entry> {
        let mut left = READ_BYTES as u64;
        let mut read = Vec::new();
        for entry in self.range(start..end) {
            let cost = cost(entry);
            if cost > left && !read.is_empty() {
                break;
            }
            left = left.saturating_sub(cost);
            read.push(entry.clone());
        }
        read
    }

    /// The entry at `index`.
    pub fn get(&self, index: u64) -> Option<&Entry> {
        self.range(index..=index).next()
    }

    /// The last entry that was purged.
    pub fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// The last log id, purged ones included.
    pub fn last(&self) -> Option<LogId> {
        self.window.back().map(|last| last.log_id).or(self.purged)
    }

    /// The index of the first entry that is there, or that would be next.
    pub fn first_index(&self) -> u64 {
        let next = self.purged.map_or(0, |purged| purged.index + 1);
        self.window.front().map_or(next, |front| front.log_id.index.max(next))
    }

    /// True if no entry was ever here.
    pub fn is_pristine(&self) -> bool {
        self.last().is_none()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kahuna_protocol::batch::Batch;

    use super::super::types::{Payload, Proposal, log_id};
    use super::*;

    fn entry(term: u64, index: u64, len: usize) -> Entry {
        let batch = Batch::from_bytes(Bytes::from(vec![7; len]));
        Entry { log_id: log_id(term, index), payload: Payload::Normal(Proposal(batch)) }
    }

    fn indices<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<u64> {
        entries.map(|entry| entry.log_id.index).collect()
    }

    #[test]
    fn ranges_stay_inside_the_window() {
        let entries = Entries::new(Some(log_id(1, 4)), (5..10).map(|index| entry(1, index, 0)));
        assert_eq!(indices(entries.range(..)), [5, 6, 7, 8, 9]);
        assert_eq!(indices(entries.range(0..7)), [5, 6]);
        assert_eq!(indices(entries.range(8..=100)), [8, 9]);
        assert!(indices(entries.range(2..3)).is_empty());
        assert!(indices(entries.range(10..)).is_empty());
        assert_eq!(entries.get(4), None);
        assert_eq!(entries.get(9).map(|entry| entry.log_id.index), Some(9));
    }

    #[test]
    fn an_entry_supersedes_what_follows() {
        let mut entries = Entries::new(None, (0..5).map(|index| entry(1, index, 10)));
        entries.push(entry(2, 3, 10));
        assert_eq!(entries.last(), Some(log_id(2, 3)));
        assert_eq!(indices(entries.range(..)), [0, 1, 2, 3]);
    }

    #[test]
    fn a_purge_beyond_the_end_leaves_nothing() {
        let mut entries = Entries::new(None, (0..5).map(|index| entry(1, index, 10)));
        entries.purge(log_id(3, 90));
        assert_eq!((entries.first_index(), entries.last()), (91, Some(log_id(3, 90))));
        assert!(indices(entries.range(..)).is_empty());
        entries.push(entry(3, 91, 0));
        assert_eq!(entries.first_index(), 91);
        assert_eq!(indices(entries.range(0..200)), [91]);
        free(&mut entries);
        assert_eq!(indices(entries.range(0..200)), [91]);
    }

    /// How many steps it took to free what was purged.
    fn free(entries: &mut Entries) -> usize {
        let mut steps = 1;
        while entries.free_purged() {
            steps += 1;
        }
        assert!(entries.purged_windows.is_empty());
        let purged = entries.purged.map_or(0, |purged| purged.index + 1);
        assert!(entries.window.front().is_none_or(|front| front.log_id.index >= purged));
        steps
    }

    #[test]
    fn purged_entries_are_gone_at_once_and_freed_in_steps() {
        let mut entries = Entries::new(None, (0..2000).map(|index| entry(1, index, 10)));
        entries.purge(log_id(1, 1500));
        let look = |entries: &Entries| {
            assert_eq!((entries.first_index(), entries.last()), (1501, Some(log_id(1, 1999))));
            assert_eq!(entries.get(1500), None);
            assert_eq!(indices(entries.range(..1503)), [1501, 1502]);
            assert_eq!(entries.range(..).count(), 499);
            assert!(entries.bounded(0, 1501).is_empty());
        };
        look(&entries);
        assert!(entries.free_purged());
        look(&entries);
        assert!(free(&mut entries) > 4);
        look(&entries);
        entries.truncate(1800);
        entries.purge(log_id(2, 5000));
        entries.push(entry(2, 5001, 10));
        entries.purge(log_id(2, 5001));
        assert_eq!((entries.first_index(), entries.last()), (5002, Some(log_id(2, 5001))));
        free(&mut entries);
        let mut large = Entries::new(None, (0..20).map(|index| entry(1, index, READ_BYTES)));
        large.purge(log_id(1, 15));
        assert!(free(&mut large) > 15);
        assert_eq!(indices(large.range(..)), [16, 17, 18, 19]);
    }

    #[test]
    fn a_bounded_read_gives_one_entry_at_least() {
        let sizes = [READ_BYTES * 2, 1000, READ_BYTES / 2, READ_BYTES / 2];
        let entries = Entries::new(None, (0..).zip(sizes).map(|(index, len)| entry(1, index, len)));
        assert_eq!(indices(entries.bounded(0, 4).iter()), [0]);
        assert_eq!(indices(entries.bounded(1, 4).iter()), [1, 2]);
        assert_eq!(indices(entries.bounded(2, 3).iter()), [2]);
        assert!(entries.bounded(4, 9).is_empty());
    }
}
