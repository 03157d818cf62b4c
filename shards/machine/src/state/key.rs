//! A key's record: its versions, newest first.

use std::collections::VecDeque;

use kahuna_protocol::{Hlc, Kind};

use super::record_kind::RecordKind;
use super::{Floors, Version};
use crate::codec::{Reader, Writer};

/// The most versions that one write drops. Two would do to shrink a chain; more let it shrink faster.
const MAX_DROPPED: usize = 8;

/// What to keep of the versions that a write replaces.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// This many versions, the new one included.
    pub revisions: usize,
    /// And those that were current at this time of the machine or later, Unix milliseconds.
    pub since_ms: u64,
    /// Drop the version that is replaced at once.
    pub no_replaced: bool,
}

/// What a chain of versions holds for a revision or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// This version.
    At(&'a Version),
    /// There was no value; the revision of the tombstone, or 0.
    Never(u64),
    /// There was one, or may have been: the oldest revision from there on that is kept.
    Gone(u64),
}

/// A key with its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    newest: Version,
    /// Newest first; revisions and commit stamps strictly fall.
    older: VecDeque<Version>,
}

impl Key {
    /// A key with one version.
    pub fn new(version: Version) -> Self {
        Self { newest: version, older: VecDeque::new() }
    }

    /// The version that counts now.
    pub fn newest(&self) -> &Version {
        &self.newest
    }

    /// The newest version, to move its deadline.
    pub fn newest_mut(&mut self) -> &mut Version {
        &mut self.newest
    }

    /// How many versions are kept, the newest included.
    pub fn len(&self) -> usize {
        1 + self.older.len()
    }

    /// The version at `index` counted from the newest one.
    pub fn version(&self, index: usize) -> Option<&Version> {
        match index.checked_sub(1) {
            None => Some(&self.newest),
            Some(index) => self.older.get(index),
        }
    }

    /// Puts a version behind all others: for a snapshot, which comes newest first.
    pub fn push_oldest(&mut self, version: Version) {
        self.older.push_back(version);
    }

    /// Replaces the newest version and drops what need not be kept.
    pub fn push(&mut self, version: Version, keep: Keep) {
        debug_assert!(version.revision > self.newest.revision && version.commit_stamp > self.newest.commit_stamp);
        let replaced = std::mem::replace(&mut self.newest, version);
        if keep.no_replaced {
            self.newest.gap = true;
        } else {
            self.older.push_front(replaced);
        }
        for _ in 0..MAX_DROPPED {
            // A version stopped being current when the next one was committed.
            let replaced_ms = match self.older.len() {
                0 => break,
                1 => self.newest.commit_stamp.millis(),
                length => self.older[length - 2].commit_stamp.millis(),
            };
            if self.len() <= keep.revisions.max(1) || replaced_ms >= keep.since_ms {
                break;
            }
            self.older.pop_back();
            self.oldest_mut().gap = true;
        }
    }

    /// Drops every version but the newest one.
    pub fn forget_history(&mut self) {
        if !self.older.is_empty() {
            self.older = VecDeque::new();
            self.newest.gap = true;
        }
    }

    /// The version that `revision` made.
    pub fn at_revision(&self, revision: u64) -> Lookup<'_> {
        if revision > self.newest.revision || revision == 0 {
            return Lookup::Never(self.newest.revision);
        }
        if revision == self.newest.revision {
            return Lookup::At(&self.newest);
        }
        let at = self.older.partition_point(|version| version.revision > revision);
        match self.older.get(at) {
            Some(version) if version.revision == revision => Lookup::At(version),
            _ => Lookup::Gone(self.before(at).revision),
        }
    }

    /// The version that was current at `stamp`.
    pub fn as_of(&self, stamp: Hlc) -> Lookup<'_> {
        if self.newest.commit_stamp <= stamp {
            return Lookup::At(&self.newest);
        }
        let at = self.older.partition_point(|version| version.commit_stamp > stamp);
        let next = self.before(at);
        match self.older.get(at) {
            _ if next.gap => Lookup::Gone(next.revision),
            Some(version) => Lookup::At(version),
            None => Lookup::Never(next.revision.saturating_sub(1)),
        }
    }

    /// The version that replaced what stands, or stood, at `index` of `older`.
    fn before(&self, index: usize) -> &Version {
        index.checked_sub(1).map_or(&self.newest, |index| &self.older[index])
    }

    fn oldest_mut(&mut self) -> &mut Version {
        self.older.back_mut().unwrap_or(&mut self.newest)
    }
}

impl RecordKind for Key {
    const KIND: Kind = Kind::Key;
    const TAG: u8 = 3;

    fn end_ms(&self, skew_ms: u64) -> Option<u64> {
        self.newest.end_ms(skew_ms)
    }

    fn raise_floor(&self, floors: &mut Floors, _: u16) {
        floors.revision = floors.revision.max(self.newest.revision);
    }

    /// Nothing: the versions follow as items of their own.
    fn write(&self, _: &mut Writer) {}

    fn read(_: &mut Reader<'_>) -> Option<Self> {
        None
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn version(revision: u64, ms: u64) -> Version {
        Version {
            revision,
            value: Some(Bytes::from(format!("v{revision}"))),
            stamp: Hlc::from_millis(ms),
            commit_stamp: Hlc::from_millis(ms),
            deadline_ms: None,
            gap: false,
        }
    }

    const ALL: Keep = Keep { revisions: usize::MAX, since_ms: u64::MAX, no_replaced: false };

    fn revision(lookup: Lookup<'_>) -> Result<u64, (&'static str, u64)> {
        match lookup {
            Lookup::At(version) => Ok(version.revision),
            Lookup::Never(revision) => Err(("never", revision)),
            Lookup::Gone(oldest) => Err(("gone", oldest)),
        }
    }

    #[test]
    fn every_kept_version_is_found_by_revision_and_by_time() {
        let mut key = Key::new(version(5, 50));
        (6..=9).for_each(|n| key.push(version(n, n * 10), ALL));
        for n in 5..=9 {
            assert_eq!(revision(key.at_revision(n)), Ok(n));
            assert_eq!(revision(key.as_of(Hlc::from_millis(n * 10))), Ok(n));
            assert_eq!(revision(key.as_of(Hlc::from_millis(n * 10 + 9))), Ok(n));
        }
        assert_eq!(revision(key.as_of(Hlc::from_millis(49))), Err(("never", 4)));
        assert_eq!(revision(key.at_revision(10)), Err(("never", 9)));
        assert_eq!(revision(key.at_revision(4)), Err(("gone", 5)));
    }

    #[test]
    fn what_was_dropped_is_gone_and_never_a_neighbour() {
        let mut key = Key::new(version(1, 10));
        let keep = Keep { revisions: 3, ..ALL };
        (2..=5).for_each(|n| key.push(version(n, n * 10), keep));
        assert_eq!(key.len(), 3);
        assert_eq!(revision(key.at_revision(2)), Err(("gone", 3)));
        assert_eq!(revision(key.as_of(Hlc::from_millis(25))), Err(("gone", 3)));
        assert_eq!(revision(key.as_of(Hlc::from_millis(5))), Err(("gone", 3)));
        key.push(version(6, 60), Keep { no_replaced: true, ..ALL });
        assert_eq!(revision(key.at_revision(5)), Err(("gone", 6)));
        assert_eq!(revision(key.as_of(Hlc::from_millis(55))), Err(("gone", 6)));
        assert_eq!(revision(key.as_of(Hlc::from_millis(45))), Err(("gone", 6)), "when revision 5 began is forgotten");
        assert_eq!(revision(key.as_of(Hlc::from_millis(35))), Ok(3));
        key.forget_history();
        assert_eq!(revision(key.as_of(Hlc::from_millis(35))), Err(("gone", 6)));
        assert_eq!(revision(key.as_of(Hlc::from_millis(60))), Ok(6));
    }

    #[test]
    fn retention_keeps_what_was_current_since_then() {
        let mut key = Key::new(version(1, 10));
        let keep = |since_ms| Keep { revisions: 1, since_ms, no_replaced: false };
        (2..=4).for_each(|n| key.push(version(n, n * 10), keep(0)));
        assert_eq!(key.len(), 4);
        // Revision 2 was current until 30, revision 1 until 20.
        key.push(version(5, 50), keep(25));
        assert_eq!(revision(key.as_of(Hlc::from_millis(25))), Ok(2));
        assert_eq!(revision(key.as_of(Hlc::from_millis(19))), Err(("gone", 2)));
    }
}
