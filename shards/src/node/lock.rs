//! One process per data directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A file that a node keeps locked while it runs, beside the manifest.
pub const LOCK_FILE: &str = "lock";

/// Holds a data directory until it is dropped, or the process ends in whatever way.
///
/// The directory itself is locked, because it cannot be replaced while it is locked, and the file in it, which earlier
/// versions lock.
#[derive(Debug)]
pub struct DirLock(#[expect(dead_code, reason = "the locks live as long as the open files")] [File; 2]);

impl DirLock {
    /// Locks `dir`, which is created, durably, if it is missing.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it; otherwise the system's error.
    pub fn acquire(dir: &Path) -> io::Result<Self> {
        let missing: Vec<&Path> =
            dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
        std::fs::create_dir_all(dir)?;
        for parent in missing.iter().filter_map(|made| made.parent()).filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        let itself = File::open(dir)?;
        // Some file systems do not lock directories; there the file remains.
        if flock(&itself, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Err(Errno::WOULDBLOCK.into());
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK_FILE))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self([itself, file]))
    }

    /// Whether some process holds `dir`, as far as can be seen. Nothing is changed.
    pub fn is_held(dir: &Path) -> bool {
        let is_locked = |path: &Path| {
            let file = File::open(path);
            file.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
        };
        is_locked(dir) || is_locked(&dir.join(LOCK_FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Claim: who removes the lock's file, or puts another one in its place, does not let a second process in; and a process of
    /// an earlier version, which locks the file alone, keeps its directory.
    #[test]
    fn a_directory_stays_locked_without_its_lock_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path();
        let held = DirLock::acquire(path).expect("nobody has it");
        std::fs::remove_file(path.join(LOCK_FILE)).expect("our own file");
        let refused = DirLock::acquire(path).expect_err("it is held");
        assert_eq!((refused.kind(), DirLock::is_held(path)), (io::ErrorKind::WouldBlock, true));
        drop(held);
        assert!(!DirLock::is_held(path));
        let earlier = File::create(path.join(LOCK_FILE)).expect("a new file");
        flock(&earlier, FlockOperation::NonBlockingLockExclusive).expect("nobody has it");
        let refused = DirLock::acquire(path).expect_err("it is held");
        assert_eq!((refused.kind(), DirLock::is_held(path)), (io::ErrorKind::WouldBlock, true));
        drop(earlier);
        DirLock::acquire(path).expect("nobody has it");
    }
}
