//! The next segment file, ready before it is needed.
//!
//! A file gets its segment name only when its header is durable, so a named segment with an unreadable header was damaged.

use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::Poll;

use super::state::{Prepared, Shared, State};
use crate::format::FORMAT_VERSION;
use crate::format::segment::SegmentHeader;
use crate::{AlignedBuf, Disk, DiskFile, Durability, LogError, OpenMode};

impl<D: Disk> Shared<D> {
    /// Keeps one segment ready behind the tail, the reserve whole, and gives old segments free. Returns between two steps
    /// once the writer has finished, so that no file stays open under an operation in flight, or when something failed.
    pub async fn prepare_loop(&self) -> Result<(), LogError> {
        while !self.state().finished {
            self.prepare_once().await?;
        }
        Ok(())
    }

    async fn prepare_once(&self) -> Result<(), LogError> {
        self.free_segments().await?;
        let (next, refill) = {
            let state = self.state();
            (state.segment_to_prepare(), state.pool.wants_refill())
        };
        match next {
            Some(segment) => self.prepare(segment).await.map(drop),
            None if refill => self.refill().await,
            None => self.something_to_prepare().await,
        }
    }

    async fn something_to_prepare(&self) -> Result<(), LogError> {
        poll_fn(|context| {
            let mut state = self.state();
            let work = state.segment_to_prepare().is_some() || state.pool.wants_refill() || state.release.has_free();
            if work || state.finished {
                return Poll::Ready(Ok(()));
            }
            if state.gives_up_waiting() {
                // What still waits was never written.
                return Poll::Ready(Err(LogError::Closed));
            }
            state.sleep(context.waker());
            Poll::Pending
        })
        .await
    }

    /// Makes `segment` ready: from a spare, else from a new file filled with zeros, else from the reserve. Returns whether
    /// there was a file for it.
    pub async fn prepare(&self, segment: u64) -> Result<bool, LogError> {
        let Some((path, file)) = self.unused_file().await? else { return Ok(false) };
        let header = SegmentHeader {
            version: FORMAT_VERSION,
            identity: self.identity,
            sequence: segment,
            generation: self.state().new_generation(self.run),
            run: self.run,
            segment_bytes: self.options.segment_bytes,
        };
        let block = AlignedBuf::copy_of(&header.encode());
        file.write_at(0, block, Durability::Durable).await.map_err(LogError::failed("write", &path))?;
        let name = self.segment_path(segment);
        self.disk.rename(&path, &name).await.map_err(LogError::failed("rename", &path))?;
        self.sync_names().await?;
        self.state().add_prepared(&header, file);
        Ok(true)
    }

    async fn unused_file(&self) -> Result<Option<(PathBuf, D::File)>, LogError> {
        loop {
            let mut spare = self.state().pool.take();
            if spare.is_none() {
                if let Some(new) = self.new_file().await? {
                    return Ok(Some(new));
                }
                spare = self.state().pool.take();
            }
            let Some(path) = spare else { return Ok(None) };
            if let Some(file) = self.open_spare(&path).await? {
                return Ok(Some((path, file)));
            }
            self.state().pool.allocated_bytes -= self.options.segment_bytes;
        }
    }

    /// A spare of the right length. A spare that was cut from outside is removed.
    async fn open_spare(&self, path: &Path) -> Result<Option<D::File>, LogError> {
        let file = match self.open_file(path, OpenMode::WriteDirect, "open").await {
            Err(LogError::Failed { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if file.len().await.map_err(LogError::failed("stat", path))? == self.options.segment_bytes {
            return Ok(Some(file));
        }
        drop(file);
        self.disk.remove(path).await.map_err(LogError::failed("remove", path))?;
        Ok(None)
    }
}

impl<D: Disk> State<D> {
    fn segment_to_prepare(&self) -> Option<u64> {
        let wanted = self.prepared_upto <= self.queue.tail_segment() && self.pool.gives();
        wanted.then_some(self.prepared_upto + 1)
    }

    /// Takes a ready segment in; wakes a writer that waits for it.
    pub fn add_prepared(&mut self, header: &SegmentHeader, file: D::File) {
        let SegmentHeader { sequence: segment, generation, .. } = *header;
        self.prepared.push_back(Prepared { segment, generation, file: Rc::new(file) });
        self.prepared_upto = segment;
        self.settle_space();
        self.wake();
    }

    /// `segment`, when it is ready; forgets the ones before it.
    pub fn prepared_segment(&mut self, segment: u64) -> Option<Prepared<D>> {
        while self.prepared.front().is_some_and(|prepared| prepared.segment < segment) {
            self.prepared.pop_front();
        }
        self.prepared.front().cloned()
    }
}
