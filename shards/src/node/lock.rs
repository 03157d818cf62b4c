//! One process per data directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::data_dir::LOCK_FILE;

/// Holds a data directory until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct DirLock(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

impl DirLock {
    /// Locks `dir`, which is created, durably, if it is missing.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it; otherwise what the system said.
    pub fn acquire(dir: &Path) -> io::Result<Self> {
        let missing: Vec<&Path> =
            dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
        std::fs::create_dir_all(dir)?;
        for parent in missing.iter().filter_map(|made| made.parent()).filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK_FILE))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self(file))
    }
}
