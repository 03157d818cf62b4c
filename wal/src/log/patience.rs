//! When the process may open no more files, or the kernel has no memory for one: the log waits, as it does on a full disk.
//!
//! A refused opening has changed nothing, so it is repeated at every call of
//! [`Log::retry_allocation`](super::Log::retry_allocation), which also asks the disk for room again. Meanwhile the log
//! counts as one without room.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::task::Poll;

use super::state::Shared;
use crate::disk::cannot_open;
use crate::{Disk, LogError, OpenMode};

impl<D: Disk> Shared<D> {
    /// Opens a file, as soon as one may be opened.
    pub async fn open_file(&self, path: &Path, mode: OpenMode, operation: &'static str) -> Result<D::File, LogError> {
        self.patiently(async || self.disk.open(path, mode).await, path, operation).await
    }

    /// Makes the names of the log's files durable, as soon as the directory may be opened.
    pub async fn sync_names(&self) -> Result<(), LogError> {
        self.patiently(async || self.disk.sync_dir(&self.dir).await, &self.dir, "sync directory").await
    }

    /// Repeats `attempt` as long as no file can be opened. While the log itself is being opened it fails instead: its owner
    /// starts again.
    async fn patiently<T>(
        &self,
        attempt: impl AsyncFn() -> io::Result<T>,
        path: &Path,
        operation: &'static str,
    ) -> Result<T, LogError> {
        loop {
            match attempt().await {
                Err(error) if cannot_open(&error) && self.state().running => {
                    self.state().pool.refuse_opening(&error);
                    self.until_asked_again().await?;
                }
                done => return done.map_err(LogError::failed(operation, path)),
            }
        }
    }

    /// `Closed` when the log ends before, with all that could be written.
    async fn until_asked_again(&self) -> Result<(), LogError> {
        poll_fn(|context| {
            let mut state = self.state();
            if !state.pool.is_unopenable() {
                return Poll::Ready(Ok(()));
            }
            if state.finished || state.gives_up_waiting() {
                return Poll::Ready(Err(LogError::Closed));
            }
            state.sleep(context.waker());
            Poll::Pending
        })
        .await
    }
}
