//! What the log must not lose: for each group, which segment holds what is still needed of it.
//!
//! Built by recovery from the records it replays and kept up to date by appends, by one and the same function. Answers two
//! questions: which is the oldest segment still needed, and which marks (vote, committed, ..) must be repeated in a newer
//! segment before that one may go.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::format::record::{GroupId, Record};

/// All groups of a log.
#[derive(Debug, Default)]
pub struct Index {
    groups: BTreeMap<GroupId, GroupIndex>,
}

/// The newest value of a mark, and the segment that holds it.
#[derive(Debug)]
struct Mark<T = Bytes> {
    value: T,
    segment: u64,
}

/// A contiguous range of live entries in one segment.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    segment: u64,
    first: u64,
    last: u64,
}

#[derive(Debug, Default)]
struct GroupIndex {
    created: Option<Mark>,
    vote: Option<Mark>,
    committed: Option<Mark>,
    purged: Option<Mark<(u64, Bytes)>>,
    snapshot: Option<Mark>,
    /// Live entries, contiguous over all spans; segments never fall from front to back.
    spans: VecDeque<Span>,
}

impl Index {
    /// Takes in a record that stands in `segment`, or says which rule of the log it breaks (and takes nothing in).
    pub fn apply(&mut self, group: GroupId, record: &Record, segment: u64) -> Result<(), &'static str> {
        if matches!(record, Record::GroupDestroyed) {
            self.groups.remove(&group);
            return Ok(());
        }
        self.groups.entry(group).or_default().apply(record, segment)
    }

    /// The oldest segment with a live entry, or `tail` when no older one has any.
    pub fn oldest_needed(&self, tail: u64) -> u64 {
        self.pinned().map(|(_, segment)| segment).min().unwrap_or(tail).min(tail)
    }

    /// For every group with live entries, the oldest segment that holds one.
    pub fn pinned(&self) -> impl Iterator<Item = (GroupId, u64)> + '_ {
        self.groups.iter().filter_map(|(&group, index)| Some((group, index.spans.front()?.segment)))
    }

    /// The marks that stand in a segment below `oldest`, as records to write again.
    pub fn marks_below(&self, oldest: u64) -> Vec<(GroupId, Record)> {
        let mut records = Vec::new();
        for (&group, index) in &self.groups {
            let mut repeat = |mark: &Option<Mark>, record: fn(Bytes) -> Record| {
                if let Some(mark) = mark.as_ref().filter(|mark| mark.segment < oldest) {
                    records.push((group, record(mark.value.clone())));
                }
            };
            repeat(&index.created, Record::GroupCreated);
            repeat(&index.vote, Record::Vote);
            repeat(&index.committed, Record::Committed);
            repeat(&index.snapshot, Record::Snapshot);
            if let Some(mark) = index.purged.as_ref().filter(|mark| mark.segment < oldest) {
                let (upto, log_id) = mark.value.clone();
                records.push((group, Record::Purge { upto, log_id }));
            }
        }
        records
    }
}

impl GroupIndex {
    fn apply(&mut self, record: &Record, segment: u64) -> Result<(), &'static str> {
        let mark = |value: &Bytes| Some(Mark { value: value.clone(), segment });
        match record {
            Record::Entry { index, .. } => return self.append(*index, segment),
            Record::Vote(vote) => self.vote = mark(vote),
            Record::Committed(committed) => self.committed = mark(committed),
            Record::Snapshot(pointer) => self.snapshot = mark(pointer),
            Record::GroupCreated(facts) => self.created = mark(facts),
            Record::Truncate { from } => self.truncate(*from),
            Record::Purge { upto, log_id } => {
                if self.purged.as_ref().is_none_or(|mark| mark.value.0 <= *upto) {
                    self.purged = Some(Mark { value: (*upto, log_id.clone()), segment });
                }
                self.purge(*upto);
            }
            Record::GroupDestroyed => unreachable!("removes the group from the index"),
        }
        Ok(())
    }

    fn append(&mut self, index: u64, segment: u64) -> Result<(), &'static str> {
        if self.purged.as_ref().is_some_and(|mark| index <= mark.value.0) {
            return Err("an entry at or below the purge mark of its group");
        }
        match self.spans.back_mut() {
            Some(last) if last.last.saturating_add(1) < index => {
                return Err("an entry that leaves a hole behind its group's last entry");
            }
            Some(last) if last.last.saturating_add(1) == index && last.segment == segment => {
                last.last = index;
                return Ok(());
            }
            _ => {}
        }
        self.truncate(index);
        self.spans.push_back(Span { segment, first: index, last: index });
        Ok(())
    }

    fn truncate(&mut self, from: u64) {
        while self.spans.back().is_some_and(|span| span.first >= from) {
            self.spans.pop_back();
        }
        if let Some(last) = self.spans.back_mut() {
            last.last = last.last.min(from - 1);
        }
    }

    fn purge(&mut self, upto: u64) {
        while self.spans.front().is_some_and(|span| span.last <= upto) {
            self.spans.pop_front();
        }
        if let Some(first) = self.spans.front_mut() {
            first.first = first.first.max(upto + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64) -> Record {
        Record::Entry { index, meta: [0; 16], payload: Bytes::new() }
    }

    fn purge(upto: u64) -> Record {
        Record::Purge { upto, log_id: Bytes::from_static(b"id") }
    }

    fn spans(index: &Index, group: GroupId) -> Vec<(u64, u64, u64)> {
        index.groups[&group].spans.iter().map(|span| (span.segment, span.first, span.last)).collect()
    }

    #[test]
    fn spans_follow_appends_truncations_and_purges() {
        let mut index = Index::default();
        for (first, last, segment) in [(1, 5, 1), (6, 9, 2), (10, 12, 3)] {
            (first..=last).for_each(|at| index.apply(1, &entry(at), segment).expect("contiguous"));
        }
        assert_eq!(spans(&index, 1), [(1, 1, 5), (2, 6, 9), (3, 10, 12)]);
        index.apply(1, &Record::Truncate { from: 8 }, 3).expect("always");
        assert_eq!(spans(&index, 1), [(1, 1, 5), (2, 6, 7)]);
        index.apply(1, &entry(4), 3).expect("supersedes");
        assert_eq!(spans(&index, 1), [(1, 1, 3), (3, 4, 4)]);
        index.apply(1, &purge(2), 3).expect("always");
        assert_eq!(spans(&index, 1), [(1, 3, 3), (3, 4, 4)]);
        assert_eq!(index.oldest_needed(9), 1);
        index.apply(1, &purge(3), 3).expect("always");
        assert_eq!(index.oldest_needed(9), 3);
        index.apply(1, &purge(100), 3).expect("a snapshot may be ahead of the log");
        assert_eq!(index.oldest_needed(9), 9);
        index.apply(1, &entry(101), 4).expect("goes on behind the mark");
        assert_eq!(index.oldest_needed(9), 4);
    }

    #[test]
    fn holes_and_purged_entries_are_named() {
        let mut index = Index::default();
        index.apply(1, &entry(7), 1).expect("a log starts anywhere");
        assert!(index.apply(1, &entry(9), 1).is_err());
        index.apply(1, &purge(7), 1).expect("always");
        assert!(index.apply(1, &entry(7), 1).is_err());
        index.apply(1, &Record::GroupDestroyed, 1).expect("always");
        index.apply(1, &entry(3), 1).expect("a new life");
    }

    #[test]
    fn marks_are_repeated_once_they_are_older_than_the_oldest_segment() {
        let mut index = Index::default();
        index.apply(1, &Record::Vote(Bytes::from_static(b"old")), 1).expect("always");
        index.apply(1, &Record::Vote(Bytes::from_static(b"new")), 2).expect("always");
        index.apply(1, &purge(5), 3).expect("always");
        index.apply(1, &purge(4), 4).expect("a lower mark changes nothing");
        assert_eq!(index.marks_below(2), []);
        assert_eq!(index.marks_below(3), [(1, Record::Vote(Bytes::from_static(b"new")))]);
        assert_eq!(index.marks_below(4).len(), 2);
        for (group, record) in index.marks_below(4) {
            index.apply(group, &record, 4).expect("marks repeat");
        }
        assert_eq!(index.marks_below(4), []);
    }
}
