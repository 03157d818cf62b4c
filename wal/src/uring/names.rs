//! Operations on names. The kernel does each of them on a thread of its own: the shard's would wait with it for the file
//! system's journal, or for the blocks of a large file to be given back.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use io_uring::{opcode, squeue, types};

use super::operation::Target;
use super::ring::Ring;

/// For paths, all of them absolute.
const NOWHERE: types::Fd = types::Fd(libc::AT_FDCWD);

/// Access for everybody whom the process's mask does not keep out.
const FILE_MODE: libc::mode_t = 0o666;
const DIR_MODE: libc::mode_t = 0o777;

/// Opens the file at `path`.
pub async fn open(ring: &Rc<Ring>, path: &Path, flags: i32) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    // Always on a thread of the kernel, which opens as the system call does; a first attempt on this one would not wait for
    // what a plain open waits for.
    let entry = opcode::OpenAt::new(NOWHERE, path.as_ptr()).flags(flags | libc::O_CLOEXEC).mode(FILE_MODE).build();
    // SAFETY: the entry names the path's memory only, which the move leaves where it is.
    let opening = unsafe { ring.submit_named(Target::Opening(path), entry.flags(squeue::Flags::ASYNC)) };
    let mut ended = opening.await;
    outcome(ended.result())?;
    Ok(ended.opened.take().expect("an opening that succeeds gives a descriptor"))
}

/// Renames `from`, replacing `to`.
pub async fn rename(ring: &Rc<Ring>, from: &Path, to: &Path) -> io::Result<()> {
    let (old, new) = (c_string(from)?, c_string(to)?);
    let entry = opcode::RenameAt::new(NOWHERE, old.as_ptr(), NOWHERE, new.as_ptr()).build();
    // SAFETY: the entry names the paths' memory only, which the move leaves where it is.
    let renaming = unsafe { ring.submit_named(Target::Paths([old, new]), entry) };
    or_plainly(renaming.await.result(), || fs::rename(from, to))
}

/// Removes the file at `path`.
pub async fn remove(ring: &Rc<Ring>, path: &Path) -> io::Result<()> {
    let name = c_string(path)?;
    let entry = opcode::UnlinkAt::new(NOWHERE, name.as_ptr()).build();
    // SAFETY: the entry names the path's memory only, which the move leaves where it is.
    let removal = unsafe { ring.submit_named(Target::Path(name), entry) };
    or_plainly(removal.await.result(), || fs::remove_file(path))
}

/// Makes a directory.
pub async fn make_dir(ring: &Rc<Ring>, path: &Path) -> io::Result<()> {
    let name = c_string(path)?;
    let entry = opcode::MkDirAt::new(NOWHERE, name.as_ptr()).mode(DIR_MODE).build();
    // SAFETY: the entry names the path's memory only, which the move leaves where it is.
    let making = unsafe { ring.submit_named(Target::Path(name), entry) };
    or_plainly(making.await.result(), || fs::create_dir(path))
}

/// What came of an operation that older kernels do not know (these need 5.11, directories 5.15, cutting 6.9): they are asked
/// for it in the plain way.
pub fn or_plainly(result: i32, plainly: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    match outcome(result) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => plainly(),
        done => done.map(drop),
    }
}

/// The kernel's result as a count.
pub fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_kernel_does_not_know_is_done_plainly() {
        let denied = || Err(io::ErrorKind::PermissionDenied.into());
        or_plainly(0, denied).expect("it is done");
        let unknown = or_plainly(-libc::EINVAL, denied).expect_err("the plain way failed");
        assert_eq!(unknown.kind(), io::ErrorKind::PermissionDenied);
        or_plainly(-libc::EINVAL, || Ok(())).expect("done plainly");
        let missing = or_plainly(-libc::ENOENT, || Ok(())).expect_err("it is missing, whoever asks");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
