//! The handle that groups and the shard hold.

use std::path::Path;
use std::rc::Rc;

use super::space::Space;
use super::state::Shared;
use super::stats::LogStats;
use crate::format::record::GroupId;
use crate::recovery::Recovered;
use crate::{Disk, LogError, LogIdentity, LogOpenError, LogOptions};

/// One shard's log. Clones are handles to the same log; all of them live on the shard's thread.
pub struct Log<D: Disk> {
    pub(super) shared: Rc<Shared<D>>,
}

impl<D: Disk> Clone for Log<D> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<D: Disk> Log<D> {
    /// Opens the log in `dir` (an absolute path), or makes a new one, and returns what it holds. When it returns, all that
    /// was recovered is durable, the new run is recorded, and a torn tail can never come back.
    ///
    /// Appends may be queued at once; they move when [`Log::run`] runs.
    pub async fn open(
        disk: D,
        dir: &Path,
        identity: LogIdentity,
        options: LogOptions,
    ) -> Result<(Self, Recovered), LogOpenError> {
        let (shared, recovered) = super::open::open(disk, dir, identity, options).await?;
        Ok((Self { shared }, recovered))
    }

    /// The one writer: everything queued becomes one batch, one durable write, one flush; a second one goes out beside it
    /// when much waits. Returns after [`Log::close`] with all flushed and sealed, or with the error that poisoned the log:
    /// [`LogError::Closed`] if it was closed and a full disk had no room for what still waited. Dropping it stops the log.
    pub async fn run(&self) -> Result<(), LogError> {
        self.shared.run().await
    }

    /// Takes no more appends; [`Log::run`] writes what is queued, seals the tail and returns. If there is still no room for
    /// that, the waiting appends get [`LogError::Closed`].
    pub fn close(&self) {
        let mut state = self.shared.state();
        state.closing = true;
        state.retry_allocation();
        state.wake();
    }

    /// For the shard's timer: when nothing was appended since the last call, writes out what was appended lazily, and then
    /// one header that states the tail durable, so that recovery can tell damage to it from an unfinished write. Does
    /// nothing on a busy log, or when the tail is sealed.
    pub fn seal_if_idle(&self) {
        let mut state = self.shared.state();
        let idle = state.stats.records == state.idle_mark;
        state.idle_mark = state.stats.records;
        let nothing_to_do = state.queue.is_empty() && state.sealed;
        if !idle || nothing_to_do || !state.in_flight.is_empty() || state.closing || state.failed.is_some() {
            return;
        }
        state.queue.open_batch().urgent = true;
        state.wake();
    }

    /// Lets go of the segments that hold nothing needed any more, repeating marks where they would be lost. Happens by
    /// itself whenever a segment is full; worth a call after purges. Returns the oldest segment that stays needed.
    pub fn release(&self) -> u64 {
        let mut state = self.shared.state();
        if state.closing || state.failed.is_some() {
            return state.release.claimed();
        }
        state.decide_release()
    }

    /// Every group with live entries and the oldest segment that holds one, in order of group. Snapshots and purges of the
    /// groups in the oldest segments save copying what they hold.
    pub fn pinned(&self) -> Vec<(GroupId, u64)> {
        self.shared.state().index.pinned().collect()
    }

    /// Counters since the opening, and sizes now.
    pub fn stats(&self) -> LogStats {
        let state = self.shared.state();
        let tail_segment = state.queue.tail_segment();
        let segments = tail_segment + 1 - state.release.claimed();
        let mut stats = LogStats { segments, tail_segment, queued_bytes: state.queue.bytes(), ..state.stats };
        stats.live_bytes = state.index.live_bytes();
        state.count_spares(&mut stats);
        stats
    }

    /// The error that poisoned the log, if one did.
    pub fn failure(&self) -> Option<LogError> {
        self.shared.state().failed.clone()
    }

    /// How much room the log has, as far as the disk has shown.
    pub fn space(&self) -> Space {
        self.shared.state().space()
    }

    /// The system's last error when it refused a file, for operators; empty if it never did. Useful while [`Space`] is not
    /// `Plenty`.
    pub fn refusal(&self) -> String {
        self.shared.state().pool.why().to_owned()
    }

    /// For the shard's timer: lets [`Log::run`] ask a full disk for room once more. Does nothing while there is plenty.
    pub fn retry_allocation(&self) {
        self.shared.state().retry_allocation();
    }
}
