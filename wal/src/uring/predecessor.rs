//! Waiting for the writes of a process that was killed.
//!
//! A killed process can be reaped, and its directory lock be free again, while the kernel still carries out writes that
//! it had submitted: the ring is torn down later, by a kernel worker. Such a write would land in the middle of what the
//! successor reads, or on top of what it wrote. Therefore every file that is open for direct writing carries a shared
//! `flock`. The lock belongs to the open file description, which an operation in flight keeps alive, so it ends exactly
//! when the last write has.
//!
//! What threads of the kernel carry out (names, opening, cutting, closing) cannot be late: they belong to the process, and its
//! descriptors, that of the directory lock among them, stay open until the last of these threads has ended.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};

use crate::log::is_own;

/// The caller is told of a file that is held this often.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Marks `file` as one that may have writes in flight.
pub(super) fn hold_while_writing(file: impl AsFd) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockShared)?)
}

/// Returns when no write to a file of the log in `dir` is in flight any more, whoever submitted it. Blocks the thread: call it
/// before [`Log::open`](crate::Log::open), under a lock that keeps other processes from opening the same log. A directory
/// that is not there has no writers; files that are not the log's are not looked at.
///
/// Whatever else holds such a lock is waited for as well, without a bound: `held` hears which file it is, at once and then
/// every second.
///
/// # Errors
/// What the system said about the directory or a file in it.
pub fn wait_for_writers(dir: &Path, mut held: impl FnMut(&Path)) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(is_own) || !entry.file_type()?.is_file() {
            continue;
        }
        match File::open(entry.path()) {
            // Removed since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => {
                let (file, path) = (opened?, entry.path());
                wait_until_free(file, || held(&path))?;
            }
        }
    }
    Ok(())
}

/// Returns when nobody holds `file`. A thread of its own waits, so that the caller is told meanwhile.
fn wait_until_free(file: File, mut held: impl FnMut()) -> io::Result<()> {
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {}
        locked => return Ok(locked?),
    }
    let (sender, locked) = mpsc::channel();
    let wait = move || {
        let locked = retry_on_intr(|| flock(&file, FlockOperation::LockExclusive));
        // Before the caller is told: it may look at the file again at once.
        drop(file);
        sender.send(locked)
    };
    thread::Builder::new().name("kahuna-held".to_owned()).spawn(wait)?;
    loop {
        held();
        match locked.recv_timeout(TELL_EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("nobody waits for the file any more")),
            Ok(locked) => return Ok(locked?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Disk, OpenMode, UringDisk, block_on};

    #[test]
    fn a_file_open_for_writing_is_held_until_it_closes() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("00000000000000000001.seg");
        let disk = UringDisk::new(8).expect("io_uring");
        let file = block_on(&disk, disk.open(&path, OpenMode::CreateDirect)).expect("a new file");
        let rival = File::open(&path).expect("readable");
        let busy = flock(&rival, FlockOperation::NonBlockingLockExclusive).expect_err("held by the writer");
        assert_eq!(busy, Errno::WOULDBLOCK);
        drop(rival);
        // It is told once at least, and then the writer ends.
        let mut writer = Some(file);
        let mut told = Vec::new();
        let held = |held: &Path| {
            told.push(held.to_owned());
            drop(writer.take());
        };
        wait_for_writers(dir.path(), held).expect("nobody writes any more");
        assert_eq!(told.first(), Some(&path));
        let nobody = |held: &Path| panic!("{} is held", held.display());
        wait_for_writers(dir.path(), nobody).expect("nobody writes");
        wait_for_writers(&dir.path().join("missing"), nobody).expect("nobody can write there");
    }

    #[test]
    fn a_file_that_is_not_the_logs_is_nothing_to_wait_for() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let stray = File::create(dir.path().join("notes.seg")).expect("a new file");
        flock(&stray, FlockOperation::NonBlockingLockExclusive).expect("nobody else holds it");
        let nobody = |held: &Path| panic!("{} is held", held.display());
        wait_for_writers(dir.path(), nobody).expect("nobody writes to the log");
    }
}
