//! Letting old segments go, oldest first.
//!
//! ```text
//! decide      everything needed below `oldest` is gone or repeated behind it (in the queue)
//! in line     all that was queued at the decision is durable
//! claim       a durable batch header says `oldest`: recovery will not look below it
//! free        the files below it are reused or removed
//! ```
//!
//! Each step waits for the one before: a crash between any two leaves files that recovery either needs or ignores.

use std::io;

use super::state::{Shared, State};
use crate::{Disk, DiskFile, LogError, OpenMode};

/// How far the release has come. `freed <= claimed <= may_claim <= decided`.
#[derive(Debug)]
pub struct Release {
    /// Nothing below is needed once the batch `decided_at` is durable.
    decided: u64,
    decided_at: u64,
    /// What the next batch header claims as the oldest needed segment.
    may_claim: u64,
    /// What a durable header claims.
    claimed: u64,
    /// Files below are gone.
    freed: u64,
}

impl Release {
    /// At opening: recovery found `oldest` claimed.
    pub fn new(oldest: u64) -> Self {
        Self { decided: oldest, decided_at: 0, may_claim: oldest, claimed: oldest, freed: oldest }
    }

    /// What the next batch header claims.
    pub fn may_claim(&self) -> u64 {
        self.may_claim
    }

    /// The oldest segment that a recovery would need now.
    pub fn claimed(&self) -> u64 {
        self.claimed
    }

    /// A header should be written to bring the release forward.
    pub fn wants_claim(&self) -> bool {
        self.claimed < self.may_claim
    }

    /// Batch `sequence`, which claimed `oldest`, is durable.
    pub fn on_durable(&mut self, sequence: u64, oldest: u64) {
        self.claimed = self.claimed.max(oldest);
        if sequence >= self.decided_at {
            self.may_claim = self.decided;
        }
    }

    /// Takes the segments whose files may go now.
    pub fn take_free(&mut self) -> std::ops::Range<u64> {
        let free = self.freed..self.claimed;
        self.freed = self.claimed;
        free
    }

    /// Whether [`Release::take_free`] would give any.
    pub fn has_free(&self) -> bool {
        self.freed < self.claimed
    }
}

impl<D: Disk> State<D> {
    /// Decides to let go of what is no longer needed, repeating marks first. Returns the oldest segment kept.
    pub fn decide_release(&mut self) -> u64 {
        let oldest = self.index.oldest_needed(self.queue.tail_segment());
        if oldest <= self.release.decided {
            return self.release.decided;
        }
        for (group, record) in self.index.marks_below(oldest) {
            self.take_in(group, &record).expect("a mark may always be repeated");
            self.queue.open_batch().urgent = true;
            self.stats.repeated += 1;
        }
        self.release.decided = oldest;
        self.release.decided_at = self.queue.last_sequence();
        if self.durable_sequence >= self.release.decided_at {
            self.release.may_claim = oldest;
        }
        self.wake();
        oldest
    }
}

impl<D: Disk> Shared<D> {
    /// Gives free the files that no recovery needs any more: back to the spares, or removed when there are enough.
    pub async fn free_segments(&self) -> Result<(), LogError> {
        let free = self.state().release.take_free();
        for segment in free {
            self.free_segment(segment).await?;
            self.state().stats.released += 1;
        }
        Ok(())
    }

    /// Gives the file of one segment free.
    pub async fn free_segment(&self, segment: u64) -> Result<(), LogError> {
        let path = self.segment_path(segment);
        let file = match self.open_file(&path, OpenMode::Read, "open").await {
            // Somebody was faster; nothing in it was needed.
            Err(LogError::Failed { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let mut state = self.state();
                state.pool.allocated_bytes = state.pool.allocated_bytes.saturating_sub(self.options.segment_bytes);
                return Ok(());
            }
            opened => opened?,
        };
        let bytes = file.len().await.map_err(LogError::failed("stat", &path))?;
        drop(file);
        // The log may have been opened with segments of another length before.
        let keep = bytes == self.options.segment_bytes && self.state().pool.has_room();
        if keep {
            let spare = self.spare_path();
            self.disk.rename(&path, &spare).await.map_err(LogError::failed("rename", &path))?;
            self.state().add_spare(spare);
        } else {
            self.disk.remove(&path).await.map_err(LogError::failed("remove", &path))?;
            self.state().pool.allocated_bytes -= bytes;
        }
        Ok(())
    }
}
