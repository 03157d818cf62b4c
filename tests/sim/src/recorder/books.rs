//! What is written down of claims that no history has words for. It is judged when the run is over.

use std::sync::{Mutex, MutexGuard};

use super::{named::Named, reliance::Reliance, shared::locked};
use crate::{
    check::{Appended, ClockBounds, Fence, KeyLife, Revisions, Turns},
    finding::{Finding, Judge},
};

/// Keys of a bucket that is scanned.
pub(crate) const BUCKET_KEYS: usize = 5;

/// The writes of a bucket and the scans of it.
type Bucket = Turns<BUCKET_KEYS>;

/// One book for each judge.
#[derive(Debug, Default)]
pub(crate) struct Books {
    reliance: Mutex<Reliance>,
    lives: Mutex<Named<KeyLife>>,
    buckets: Mutex<Named<Bucket>>,
    fences: Mutex<Named<Fence>>,
    revisions: Mutex<Revisions>,
    appends: Mutex<Named<Appended>>,
}

impl Books {
    /// Who may rely on which lock.
    pub(crate) fn reliance(&self) -> MutexGuard<'_, Reliance> {
        locked(&self.reliance)
    }

    /// Keys with a time to live.
    pub(crate) fn lives(&self) -> MutexGuard<'_, Named<KeyLife>> {
        locked(&self.lives)
    }

    /// Buckets that are scanned.
    pub(crate) fn buckets(&self) -> MutexGuard<'_, Named<Bucket>> {
        locked(&self.buckets)
    }

    /// Locks that guard a key of their name.
    pub(crate) fn fences(&self) -> MutexGuard<'_, Named<Fence>> {
        locked(&self.fences)
    }

    /// What was seen of the revisions of keys.
    pub(crate) fn revisions(&self) -> MutexGuard<'_, Revisions> {
        locked(&self.revisions)
    }

    /// Keys that are only appended to.
    pub(crate) fn appends(&self) -> MutexGuard<'_, Named<Appended>> {
        locked(&self.appends)
    }

    /// What must not be and was, if clocks are as good as that.
    pub(super) fn breaches(&self, clocks: ClockBounds) -> Vec<Finding> {
        let found = |judge, name: &str, texts: Vec<String>| {
            texts.into_iter().map(|text| Finding::new(judge, format!("{name:?}: {text}"))).collect::<Vec<_>>()
        };
        let mut all = Vec::new();
        for (name, life) in self.lives().iter() {
            all.extend(found(Judge::Expiry, name, life.breaches(clocks)));
        }
        for (name, bucket) in self.buckets().iter() {
            all.extend(found(Judge::Cut, name, bucket.breaches()));
        }
        for (name, fence) in self.fences().iter() {
            all.extend(found(Judge::Fence, name, fence.breaches()));
        }
        for (name, appended) in self.appends().iter() {
            all.extend(found(Judge::Append, name, appended.breaches()));
        }
        all.extend(self.revisions().breaches().into_iter().map(|text| Finding::new(Judge::Revision, text)));
        all
    }

    /// Keys that were seen to have ended by themselves.
    pub(crate) fn ended_keys(&self) -> u64 {
        self.lives().iter().map(|(_, life)| life.ends_seen()).sum()
    }

    /// Scans of several pages while the bucket was written.
    pub(crate) fn scans(&self) -> u64 {
        self.buckets().iter().map(|(_, bucket)| bucket.scans_amid_writes()).sum()
    }

    /// Reads of the past of keys that were answered.
    pub(crate) fn reads_back(&self) -> u64 {
        self.revisions().reads_back()
    }

    /// Reads that showed what several appends left.
    pub(crate) fn appended_values(&self) -> u64 {
        self.appends().iter().map(|(_, appended)| appended.values_seen()).sum()
    }

    /// Answers that a key exists, with its revision.
    pub(crate) fn existences(&self) -> u64 {
        self.appends().iter().map(|(_, appended)| appended.existences_seen()).sum()
    }

    /// Writes that were refused because they carried another token than that of the lock.
    pub(crate) fn fenced_writes(&self) -> u64 {
        self.fences().iter().map(|(_, fence)| fence.refusals()).sum()
    }
}
