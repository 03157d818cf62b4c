//! What the log must not lose: for each group, where that stands which is still needed of it.
//!
//! Built by recovery from the records it replays and kept up to date by appends, by one and the same function. Answers
//! which is the oldest segment still needed, which marks (vote, committed, ..) must be repeated in a newer segment before
//! that one may go, and which entries must be moved for it to go.

mod groups;
mod spans;

use bytes::Bytes;

use groups::Groups;
use spans::Spans;
pub use spans::{EntryPlace, Live};

use crate::format::Position;
use crate::format::record::{GroupId, RECORD_HEADER_BYTES, Record};

/// All groups of a log.
#[derive(Debug, Default)]
pub struct Index {
    groups: Groups<GroupIndex>,
    live: Live,
    /// Bytes that the newest marks take as records.
    mark_bytes: u64,
}

/// The newest value of a mark, and the segment that holds it.
#[derive(Debug)]
struct Mark<T = Bytes> {
    value: T,
    segment: u64,
}

#[derive(Debug, Default)]
struct GroupIndex {
    created: Option<Mark>,
    vote: Option<Mark>,
    committed: Option<Mark>,
    purged: Option<Mark<(u64, Bytes)>>,
    snapshot: Option<Mark>,
    entries: Spans,
}

/// An entry above a hole in its group: durable records below it are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Group whose entries are missing.
    pub group: GroupId,
    /// The last entry below the hole, or the purge mark.
    pub below: u64,
    /// The first above it.
    pub above: u64,
    /// Where the one above stands.
    pub at: Position,
}

impl Index {
    /// Takes in a record that was appended and stands at `place`, or returns the rule of the log that it breaks (and adds
    /// nothing).
    pub fn apply(&mut self, group: GroupId, record: &Record, place: EntryPlace) -> Result<(), &'static str> {
        self.take_in(group, record, place, GroupIndex::expect_whole)
    }

    /// [`Index::apply`] for recovery, which may begin between an entry and the copies that were made of older ones: a hole
    /// may close later, and [`Index::hole`] shows whether all did.
    pub fn replay(&mut self, group: GroupId, record: &Record, place: EntryPlace) -> Result<(), &'static str> {
        self.take_in(group, record, place, |_, _| Ok(()))
    }

    fn take_in(
        &mut self,
        group: GroupId,
        record: &Record,
        place: EntryPlace,
        check: impl FnOnce(&GroupIndex, &Record) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let (live, mark_bytes) = (&mut self.live, &mut self.mark_bytes);
        if matches!(record, Record::GroupDestroyed) {
            if let Some(mut gone) = self.groups.remove(group) {
                gone.entries.truncate(live, 0);
                *mark_bytes -= gone.mark_bytes();
            }
            return Ok(());
        }
        let index = self.groups.get_or_default(group);
        // Behind a live entry there is neither a hole nor a purge mark.
        if let Record::Entry { index: at, .. } = record
            && index.entries.follow(live, *at, place)
        {
            return Ok(());
        }
        check(index, record)?;
        match record {
            Record::Entry { index: at, .. } => {
                if index.is_purged(*at) {
                    return Err("an entry at or below the purge mark of its group");
                }
                index.entries.append(live, *at, place);
            }
            Record::Moved { index: at, .. } => {
                if !index.is_purged(*at) {
                    index.entries.relocate(live, *at, place);
                }
            }
            Record::Truncate { from } => index.entries.truncate(live, *from),
            mark => {
                *mark_bytes -= index.mark_bytes();
                index.set_mark(mark, place.batch.segment);
                *mark_bytes += index.mark_bytes();
                if let Record::Purge { upto, .. } = mark {
                    index.entries.purge(live, *upto);
                }
            }
        }
        Ok(())
    }

    /// The first hole between the live entries of a group, or between its purge mark and the first of them.
    pub fn hole(&self) -> Option<Hole> {
        self.groups.in_order().find_map(|(group, index)| {
            let (below, above, place) = index.hole()?;
            Some(Hole { group, below, above, at: place.batch })
        })
    }

    /// The oldest segment with a live entry.
    pub fn oldest_with_entries(&self) -> Option<u64> {
        self.live.oldest()
    }

    /// The oldest segment with a live entry, or `tail` when no older one has any.
    pub fn oldest_needed(&self, tail: u64) -> u64 {
        self.live.oldest().unwrap_or(tail).min(tail)
    }

    /// For every group with live entries, the oldest segment that holds one.
    pub fn pinned(&self) -> impl Iterator<Item = (GroupId, u64)> + '_ {
        self.groups.in_order().filter_map(|(group, index)| Some((group, index.entries.oldest_segment()?)))
    }

    /// Bytes of records that must not be lost: live entries, and the newest marks.
    pub fn live_bytes(&self) -> u64 {
        self.live.total() + self.mark_bytes
    }

    /// Bytes of live entries in `segment`.
    pub fn live_bytes_of(&self, segment: u64) -> u64 {
        self.live.of(segment)
    }

    /// Where the live entry of `group` at `index` stands.
    pub fn place(&self, group: GroupId, index: u64) -> Option<EntryPlace> {
        self.groups.get(group)?.entries.get(index)
    }

    /// The live entries in `segment`: where the batch begins, group and index, in this order.
    pub fn live_entries(&self, segment: u64) -> Vec<(u64, GroupId, u64)> {
        let groups = self.groups.in_order();
        let mut entries: Vec<_> = groups
            .flat_map(|(group, index)| {
                index.entries.within(segment).map(move |(at, place)| (place.batch.offset, group, at))
            })
            .collect();
        entries.sort_unstable();
        entries
    }

    /// The marks that stand in a segment below `oldest`, as records to write again.
    pub fn marks_below(&self, oldest: u64) -> Vec<(GroupId, Record)> {
        self.groups.in_order().flat_map(|(group, index)| index.marks(group, oldest)).collect()
    }
}

impl GroupIndex {
    /// The marks that stand in a segment below `oldest`, as records.
    fn marks(&self, group: GroupId, oldest: u64) -> Vec<(GroupId, Record)> {
        let mut records = Vec::new();
        let mut repeat = |mark: &Option<Mark>, record: fn(Bytes) -> Record| {
            if let Some(mark) = mark.as_ref().filter(|mark| mark.segment < oldest) {
                records.push((group, record(mark.value.clone())));
            }
        };
        repeat(&self.created, Record::GroupCreated);
        repeat(&self.vote, Record::Vote);
        repeat(&self.committed, Record::Committed);
        repeat(&self.snapshot, Record::Snapshot);
        if let Some(mark) = self.purged.as_ref().filter(|mark| mark.segment < oldest) {
            let (upto, log_id) = mark.value.clone();
            records.push((group, Record::Purge { upto, log_id }));
        }
        records
    }

    fn set_mark(&mut self, record: &Record, segment: u64) {
        let mark = |value: &Bytes| Some(Mark { value: value.clone(), segment });
        match record {
            Record::Vote(vote) => self.vote = mark(vote),
            Record::Committed(committed) => self.committed = mark(committed),
            Record::Snapshot(pointer) => self.snapshot = mark(pointer),
            Record::GroupCreated(facts) => self.created = mark(facts),
            Record::Purge { upto, log_id } => {
                if self.purged.as_ref().is_none_or(|mark| mark.value.0 <= *upto) {
                    self.purged = Some(Mark { value: (*upto, log_id.clone()), segment });
                }
            }
            Record::Entry { .. } | Record::Moved { .. } | Record::Truncate { .. } | Record::GroupDestroyed => {
                unreachable!("no marks")
            }
        }
    }

    /// Refuses what would leave a hole.
    fn expect_whole(&self, record: &Record) -> Result<(), &'static str> {
        match record {
            Record::Entry { index, .. } if self.last().is_some_and(|last| last.saturating_add(1) < *index) => {
                Err("an entry that leaves a hole behind its group's last entry, or behind its purge mark")
            }
            Record::Moved { index, .. } if self.entries.get(*index).is_none() => {
                Err("a copy of an entry that is not there")
            }
            _ => Ok(()),
        }
    }

    /// The last live entry, or the purge mark where there is none.
    fn last(&self) -> Option<u64> {
        self.entries.last().or_else(|| Some(self.purged.as_ref()?.value.0))
    }

    fn hole(&self) -> Option<(u64, u64, EntryPlace)> {
        let (first, place) = self.entries.first()?;
        let mark = self.purged.as_ref().map(|mark| mark.value.0);
        let behind_mark = mark.filter(|mark| mark.saturating_add(1) < first).map(|mark| (mark, first, place));
        behind_mark.or_else(|| self.entries.hole())
    }

    /// Bytes that the marks take as records.
    fn mark_bytes(&self) -> u64 {
        let marks = [&self.created, &self.vote, &self.committed, &self.snapshot];
        let values = marks.iter().filter_map(|mark| Some(mark.as_ref()?.value.len()));
        let purged = self.purged.iter().map(|mark| mark.value.1.len());
        values.chain(purged).map(|bytes| (RECORD_HEADER_BYTES + bytes) as u64).sum()
    }

    fn is_purged(&self, index: u64) -> bool {
        self.purged.as_ref().is_some_and(|mark| index <= mark.value.0)
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

    fn moved(index: u64) -> Record {
        Record::Moved { index, meta: [0; 16], payload: Bytes::new() }
    }

    /// Of entries without a payload.
    fn at(segment: u64) -> EntryPlace {
        EntryPlace { batch: Position::first_in(segment), bytes: 36 }
    }

    fn spans(index: &Index, group: GroupId) -> Vec<(u64, u64, u64)> {
        index.groups.get(group).expect("it is there").entries.ranges()
    }

    #[test]
    fn spans_follow_appends_truncations_and_purges() {
        let mut index = Index::default();
        for (first, last, segment) in [(1, 5, 1), (6, 9, 2), (10, 12, 3)] {
            (first..=last).for_each(|one| index.apply(1, &entry(one), at(segment)).expect("contiguous"));
        }
        assert_eq!(spans(&index, 1), [(1, 1, 5), (2, 6, 9), (3, 10, 12)]);
        index.apply(1, &Record::Truncate { from: 8 }, at(3)).expect("always");
        assert_eq!(spans(&index, 1), [(1, 1, 5), (2, 6, 7)]);
        index.apply(1, &entry(4), at(3)).expect("supersedes");
        assert_eq!(spans(&index, 1), [(1, 1, 3), (3, 4, 4)]);
        index.apply(1, &purge(2), at(3)).expect("always");
        assert_eq!(spans(&index, 1), [(1, 3, 3), (3, 4, 4)]);
        assert_eq!(index.oldest_needed(9), 1);
        index.apply(1, &purge(3), at(3)).expect("always");
        assert_eq!(index.oldest_needed(9), 3);
        index.apply(1, &purge(100), at(3)).expect("a snapshot may be ahead of the log");
        assert_eq!(index.oldest_needed(9), 9);
        index.apply(1, &entry(101), at(4)).expect("goes on behind the mark");
        assert_eq!(index.oldest_needed(9), 4);
    }

    #[test]
    fn many_entries_of_a_segment_stand_in_several_spans() {
        let mut index = Index::default();
        (1..=20_000).for_each(|one| index.apply(1, &entry(one), at(1)).expect("contiguous"));
        assert_eq!(spans(&index, 1), [(1, 1, 8192), (1, 8193, 16_384), (1, 16_385, 20_000)]);
        assert_eq!((index.live_entries(1).len(), index.hole()), (20_000, None));
        index.apply(1, &purge(9_000), at(2)).expect("always");
        index.apply(1, &Record::Truncate { from: 17_000 }, at(2)).expect("always");
        assert_eq!(spans(&index, 1), [(1, 9_001, 16_384), (1, 16_385, 16_999)]);
        assert_eq!(index.live_entries(1).len(), 7_999);
        index.apply(1, &moved(16_384), at(2)).expect("it is live");
        index.apply(1, &moved(16_385), at(2)).expect("it is live");
        assert_eq!(spans(&index, 1), [(1, 9_001, 16_383), (2, 16_384, 16_385), (1, 16_386, 16_999)]);
        assert_eq!((index.oldest_needed(9), index.hole()), (1, None));
    }

    #[test]
    fn holes_and_purged_entries_are_named() {
        let mut index = Index::default();
        index.apply(1, &entry(7), at(1)).expect("a log starts anywhere");
        assert!(index.apply(1, &entry(9), at(1)).is_err());
        index.apply(1, &purge(7), at(1)).expect("always");
        assert!(index.apply(1, &entry(7), at(1)).is_err());
        assert!(index.apply(1, &entry(9), at(1)).is_err(), "nor does it go on anywhere behind the mark");
        index.apply(1, &entry(8), at(1)).expect("it goes on right behind the mark");
        index.apply(1, &Record::GroupDestroyed, at(1)).expect("always");
        index.apply(1, &entry(3), at(1)).expect("a new life");
    }

    #[test]
    fn a_hole_behind_the_purge_mark_is_named() {
        let mut index = Index::default();
        for record in [purge(4), entry(7), entry(8)] {
            index.replay(1, &record, at(2)).expect("holes may close");
        }
        assert_eq!(index.hole(), Some(Hole { group: 1, below: 4, above: 7, at: at(2).batch }));
        index.replay(1, &moved(6), at(3)).expect("holes may close");
        assert_eq!(index.hole(), Some(Hole { group: 1, below: 4, above: 6, at: at(3).batch }));
        index.replay(1, &moved(5), at(4)).expect("holes may close");
        assert_eq!(index.hole(), None);
        index.replay(1, &purge(6), at(4)).expect("always");
        assert_eq!(index.hole(), None);
    }

    #[test]
    fn marks_are_repeated_once_they_are_older_than_the_oldest_segment() {
        let mut index = Index::default();
        index.apply(1, &Record::Vote(Bytes::from_static(b"old")), at(1)).expect("always");
        index.apply(1, &Record::Vote(Bytes::from_static(b"new")), at(2)).expect("always");
        index.apply(1, &purge(5), at(3)).expect("always");
        index.apply(1, &purge(4), at(4)).expect("a lower mark changes nothing");
        assert_eq!(index.marks_below(2), []);
        assert_eq!(index.marks_below(3), [(1, Record::Vote(Bytes::from_static(b"new")))]);
        assert_eq!(index.marks_below(4).len(), 2);
        for (group, record) in index.marks_below(4) {
            index.apply(group, &record, at(4)).expect("marks repeat");
        }
        assert_eq!(index.marks_below(4), []);
    }

    #[test]
    fn live_bytes_are_those_of_the_live_entries_and_the_newest_marks() {
        let mut index = Index::default();
        let text = |text: &'static str| Bytes::from_static(text.as_bytes());
        let steps = [
            (1, Record::Vote(text("a vote")), 26),
            (1, Record::Vote(text("v")), 21),
            (1, entry(1), 57),
            (1, Record::Committed(text("c")), 78),
            (1, Record::Snapshot(text("ss")), 100),
            (1, Record::GroupCreated(text("")), 120),
            (2, Record::Vote(text("v")), 141),
            (1, purge(1), 127),
            (1, purge(0), 127),
            (2, Record::GroupDestroyed, 106),
            (1, Record::GroupDestroyed, 0),
        ];
        for (group, record, expected) in steps {
            index.apply(group, &record, at(1)).expect("it breaks no rule");
            assert_eq!(index.live_bytes(), expected, "{record:?}");
        }
    }

    #[test]
    fn a_moved_entry_changes_its_place_and_nothing_else() {
        let mut index = Index::default();
        for (first, last, segment) in [(1, 4, 1), (5, 6, 2)] {
            (first..=last).for_each(|one| index.apply(1, &entry(one), at(segment)).expect("contiguous"));
        }
        let live = index.live_bytes();
        for one in [1, 2] {
            index.apply(1, &moved(one), at(5)).expect("it is live");
        }
        assert_eq!(spans(&index, 1), [(5, 1, 2), (1, 3, 4), (2, 5, 6)]);
        assert_eq!((index.oldest_needed(9), index.live_bytes_of(1)), (1, 72));
        // From the middle of a span, too.
        index.apply(1, &moved(5), at(5)).expect("it is live");
        index.apply(1, &moved(4), at(5)).expect("it is live");
        assert_eq!(spans(&index, 1), [(5, 1, 2), (1, 3, 3), (5, 4, 4), (5, 5, 5), (2, 6, 6)]);
        assert_eq!(index.live_entries(5), [1, 2, 4, 5].map(|one| (4096, 1, one)));
        index.apply(1, &moved(3), at(6)).expect("it is live");
        assert_eq!((index.oldest_needed(9), index.live_bytes_of(1)), (2, 0));
        assert_eq!(index.pinned().collect::<Vec<_>>(), [(1, 2)]);
        assert_eq!((index.live_bytes(), index.hole()), (live, None));
        assert!(index.apply(1, &moved(7), at(6)).is_err(), "it is not there");
        index.apply(1, &purge(2), at(6)).expect("always");
        assert!(index.apply(1, &moved(2), at(6)).is_err(), "it was purged");
        index.apply(1, &Record::Truncate { from: 3 }, at(6)).expect("always");
        assert_eq!((spans(&index, 1), index.oldest_needed(9)), (vec![], 9));
        index.apply(1, &Record::GroupDestroyed, at(6)).expect("always");
        assert_eq!(index.live_bytes(), 0);
    }

    #[test]
    fn a_replay_may_meet_newer_entries_first_but_holes_must_close() {
        let mut index = Index::default();
        for record in [moved(50), entry(100), entry(101), moved(51)] {
            index.replay(1, &record, at(4)).expect("holes may close");
        }
        let hole = Hole { group: 1, below: 51, above: 100, at: at(4).batch };
        assert_eq!(index.hole(), Some(hole));
        (52..100).for_each(|one| index.replay(1, &moved(one), at(5)).expect("holes may close"));
        assert_eq!(index.hole(), None);
        assert_eq!(spans(&index, 1), [(4, 50, 51), (5, 52, 99), (4, 100, 101)]);
        index.replay(1, &purge(60), at(6)).expect("always");
        index.replay(1, &moved(60), at(6)).expect("it is ignored");
        assert_eq!(spans(&index, 1), [(5, 61, 99), (4, 100, 101)]);
        assert!(index.replay(1, &entry(60), at(6)).is_err(), "entries never stand below the mark");
    }
}
