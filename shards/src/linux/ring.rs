//! How the executor learns that the disk's own ring has completions.
//!
//! The log writes through an io_uring of its own, which adds to an eventfd with every completion. One task per shard
//! keeps a read of that eventfd in flight on the executor's ring, so a completion wakes the executor like any other event
//! does. A polling loop would hear of it
//! a little earlier, and burn a core.

use std::os::fd::{AsFd, FromRawFd, IntoRawFd};

use glommio::io::BufferedFile;
use kahuna_wal::UringDisk;

use super::abort::abort;
use crate::env::ExitCode;

/// Size of an eventfd's counter, the least and the most one read gives.
const COUNTER_BYTES: usize = 8;

/// Wakes the waiters of `disk` as its operations complete. Runs until the shard ends: spawn it before the first use of the
/// disk. Ends the process with [`ExitCode::DiskFailed`] if the eventfd cannot be read, since no write would end any more.
pub async fn drive_disk(disk: UringDisk) {
    let counter = match disk.event_fd().as_fd().try_clone_to_owned() {
        Ok(fd) => fd,
        Err(error) => abort(ExitCode::DiskFailed, &format!("cannot watch the log's ring: {error}")),
    };
    // SAFETY: the descriptor was just duplicated for this purpose; nobody else owns or closes it.
    let counter = unsafe { BufferedFile::from_raw_fd(counter.into_raw_fd()) };
    loop {
        // Drained before each wait too: what completed before the read was in flight has set the counter already.
        disk.drain();
        if let Err(error) = counter.read_at(0, COUNTER_BYTES).await {
            abort(ExitCode::DiskFailed, &format!("cannot watch the log's ring: {error}"));
        }
    }
}
