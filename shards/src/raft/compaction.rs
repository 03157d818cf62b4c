//! Keeping a group's log short: when to take a snapshot, and how much of the log goes behind it.
//!
//! A snapshot is due when the entries applied since the last one amount to so many bytes and to as many as it has, when
//! the last one turned out to be damaged, or when the shard's log asks, because this group's old entries pin a segment. Behind a snapshot a short tail of the log
//! stays, so that a follower that is a little late is fed entries, not the whole snapshot; not when the shard's log asked.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use openraft::rt::WatchReceiver as _;

use super::applied::AppliedState;
use super::entries::cost;
use super::log_store::LogStore;
use super::state_machine::Raft;
use crate::env::Env;

/// Most entries that stay behind a snapshot.
const TAIL_ENTRIES: u64 = 1024;
/// Their bytes are at most this part of what makes a snapshot due.
const TAIL_PART: u64 = 8;

/// The state of one group's compaction.
pub struct Compaction<E: Env> {
    applied: Rc<AppliedState<E>>,
    log: LogStore<E>,
    snapshot_log_bytes: u64,
    /// A snapshot that reaches this index was requested, and no tail behind it.
    whole: Cell<Option<u64>>,
}

impl<E: Env> Compaction<E> {
    /// For one group.
    pub fn new(applied: Rc<AppliedState<E>>, log: LogStore<E>, snapshot_log_bytes: u64) -> Self {
        Self { applied, log, snapshot_log_bytes, whole: Cell::new(None) }
    }

    /// Requests a snapshot so that all that is applied can be purged from the log.
    pub fn request(&self) {
        if let Some(last) = self.applied.last() {
            self.whole.set(Some(last.index));
            self.applied.snapshots().request();
        }
    }

    /// Runs until the replica is shut down.
    pub async fn run(self: Rc<Self>, raft: Raft<E>) {
        let mut snapshots = raft.watch_snapshot_progress();
        let mut requests = self.applied.snapshots().requests();
        if self.applied.is_snapshot_due() {
            self.applied.snapshots().request();
        }
        loop {
            let done = match select(pin!(snapshots.changed()), pin!(requests.changed())).await {
                Either::Left((Ok(()), _)) => self.purge(&raft).await,
                Either::Right((Ok(()), _)) => self.snapshot(&raft).await,
                Either::Left((Err(_), _)) | Either::Right((Err(_), _)) => return,
            };
            if done.is_none() {
                return;
            }
        }
    }

    /// `None` once the replica is shut down.
    async fn snapshot(&self, raft: &Raft<E>) -> Option<()> {
        if self.applied.snapshots().is_damaged() {
            // Not through openraft, which takes no second snapshot of the same entries.
            self.applied.renew_snapshot().await.ok()?;
            return raft.trigger().snapshot().await.ok();
        }
        match self.applied.last() {
            None => Some(()),
            // There is one already: only the log behind it is to go.
            Some(last) if self.applied.snapshots().reaches(&last) => self.purge(raft).await,
            Some(_) => raft.trigger().snapshot().await.ok(),
        }
    }

    async fn purge(&self, raft: &Raft<E>) -> Option<()> {
        let Some(snapshot) = self.applied.snapshots().newest() else { return Some(()) };
        let last = snapshot.header.last.index;
        let upto = match self.whole.get() {
            Some(wanted) if wanted <= last => {
                self.whole.set(None);
                Some(last)
            }
            Some(_) => {
                // This one was under way when more was wanted.
                raft.trigger().snapshot().await.ok()?;
                None
            }
            None => self.before_tail(last),
        };
        match upto {
            Some(upto) if self.log.with_entries(|entries| entries.first_index() <= upto) => {
                raft.trigger().purge_log(upto).await.ok()
            }
            _ => Some(()),
        }
    }

    /// The last index before the tail of a snapshot that ends with `last`.
    fn before_tail(&self, last: u64) -> Option<u64> {
        let limit = self.snapshot_log_bytes / TAIL_PART;
        let mut bytes = 0;
        self.log.with_entries(|entries| {
            let mut index = last;
            while let Some(entry) = entries.get(index) {
                bytes += cost(entry);
                if bytes > limit || last - index >= TAIL_ENTRIES {
                    return Some(index);
                }
                index = index.checked_sub(1)?;
            }
            None
        })
    }
}
