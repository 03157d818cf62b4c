//! Deciding which old segments go, and giving their files free. The steps between are in [`release`](super::release).

use std::io;

use super::state::{Shared, State};
use crate::{Disk, DiskFile, LogError, OpenMode};

impl<D: Disk> State<D> {
    /// Decides to let go of what is no longer needed, repeating marks first. Returns the oldest segment kept.
    pub fn decide_release(&mut self) -> u64 {
        let oldest = self.index.oldest_needed(self.queue.tail_segment());
        if oldest <= self.release.decided() {
            return self.release.decided();
        }
        for (group, record) in self.index.marks_below(oldest) {
            self.take_in(group, &record).expect("a mark may always be repeated");
            self.queue.open_batch().urgent = true;
            self.stats.repeated += 1;
        }
        self.release.decide(oldest, self.queue.last_sequence(), self.durable_sequence);
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
            // The file is gone already; nothing in it was needed.
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
