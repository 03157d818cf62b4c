//! Whether the data directory can hold a node's data.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kahuna_shards::node::manifest::{MANIFEST, Manifest, ManifestError, UNFINISHED_MANIFEST};
use kahuna_shards::node::{DirLock, LOCK_FILE};
use kahuna_wal::{AlignedBuf, BLOCK_BYTES, UringDisk, block_on};
use rustix::fs::{Access, FsWord, access, statfs, statvfs};

use super::finding::{Finding, Trouble};

const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;
/// What a fresh volume has in its root.
const LOST_FOUND: &str = "lost+found";
/// Entries of the ring that reads the manifest.
const RING_ENTRIES: u32 = 8;

/// The directory itself, or the nearest one above it that exists: there it will be made.
fn nearest(dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    absolute.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// It is a directory, or can be made, and takes files.
pub(super) fn writable(dir: &Path) -> Finding {
    let there = nearest(dir);
    let choose = "choose another one with --data-dir";
    let result = if !there.is_dir() {
        Err(Trouble::new(format!("{} is not a directory", there.display()), choose))
    } else {
        match access(&there, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) if there == dir => Ok(format!("{} takes files", dir.display())),
            Ok(()) => Ok(format!("{} can be made", dir.display())),
            Err(rustix::io::Errno::ROFS) => {
                Err(Trouble::new(format!("{} is on a file system mounted read-only", there.display()), choose))
            }
            Err(error) => Err(Trouble::new(
                format!("{} cannot be written: {error}", there.display()),
                format!("run `sudo chown -R \"$USER\" '{}'`, or {choose}", there.display()),
            )),
        }
    };
    Finding::new("data directory", result)
}

/// What it holds outlives the power.
pub(super) fn durable(dir: &Path, allow_tmpfs: bool) -> Finding {
    let there = nearest(dir);
    let result = match statfs(&there) {
        Ok(found) if !in_memory(found.f_type) => Ok("outlives the power".to_owned()),
        Ok(_) if allow_tmpfs => Ok("in memory, as asked for: everything is lost with the power".to_owned()),
        Ok(_) => Err(Trouble::new(
            format!(
                "{} is on a file system in memory (tmpfs): what is acknowledged would not outlive the power",
                there.display()
            ),
            "choose a directory on a disk with --data-dir, or add --allow-tmpfs",
        )),
        Err(error) => Err(Trouble::new(
            format!("{} cannot be looked at: {error}", there.display()),
            "choose another one with --data-dir",
        )),
    };
    Finding::new("file system", result)
}

/// Whether what `dir` holds is lost with the power.
///
/// # Errors
/// When it cannot be looked at.
pub fn is_in_memory(dir: &Path) -> io::Result<bool> {
    Ok(in_memory(statfs(dir)?.f_type))
}

fn in_memory(magic: FsWord) -> bool {
    // The field may be 32 bits wide, where the higher one is negative.
    [TMPFS_MAGIC, RAMFS_MAGIC].contains(&(magic & 0xffff_ffff))
}

/// One block goes past the page cache.
pub(super) fn direct(dir: &Path, allow_tmpfs: bool) -> Finding {
    let there = nearest(dir);
    let result = match write_directly(&there) {
        Ok(()) => Ok("O_DIRECT writes work".to_owned()),
        // A node that ran here opens its files, and reports itself whether it can go on.
        Err(error) if is_full(&error) && has_data(dir) => Ok("the disk is full; free space, or delete keys".to_owned()),
        Err(error) if is_full(&error) => Err(Trouble::new(
            format!("no space is left on the file system of {}", there.display()),
            format!("make room (`df '{}'`), or choose another one with --data-dir", there.display()),
        )),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && allow_tmpfs => {
            Ok("not needed in memory".to_owned())
        }
        Err(error) => Err(Trouble::new(
            format!("{} does not take O_DIRECT writes ({error})", there.display()),
            "choose a directory on ext4, xfs or another file system that does, with --data-dir",
        )),
    };
    Finding::new("direct writes", result)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn has_data(dir: &Path) -> bool {
    dir.join(MANIFEST).exists()
}

/// A fresh node's logs fit. One that has data allocated its logs, and starts on a full disk too.
pub(super) fn room(dir: &Path, needed: u64) -> Option<Finding> {
    if has_data(dir) {
        return None;
    }
    let there = nearest(dir);
    let result = match statvfs(&there) {
        Ok(found) if found.f_bavail.saturating_mul(found.f_frsize) >= needed => {
            Ok(format!("{} MiB needed", needed >> 20))
        }
        Ok(found) => Err(Trouble::new(
            format!(
                "{} MiB are free on the file system of {}, and a fresh node's logs take {} MiB",
                found.f_bavail.saturating_mul(found.f_frsize) >> 20,
                there.display(),
                needed >> 20
            ),
            "make room, choose another one with --data-dir, or give a smaller --segment-size or fewer --shards",
        )),
        Err(error) => Err(Trouble::new(
            format!("{} cannot be looked at: {error}", there.display()),
            "choose another one with --data-dir",
        )),
    };
    Some(Finding::new("room", result))
}

/// Writes one block to a file without a name, so that nothing is left behind however this ends.
fn write_directly(dir: &Path) -> io::Result<()> {
    let mut open = OpenOptions::new();
    open.read(true).write(true).custom_flags(libc::O_TMPFILE | libc::O_DIRECT);
    let mut file: File = match open.open(dir) {
        // The file system has no files without a name: one is made and unnamed at once.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            let path = dir.join(format!(".kahuna-check-{}", std::process::id()));
            let made = OpenOptions::new().create_new(true).write(true).custom_flags(libc::O_DIRECT).open(&path);
            fs::remove_file(&path)?;
            made?
        }
        opened => opened?,
    };
    let block = AlignedBuf::zeroed(BLOCK_BYTES);
    file.write_all(&block)
}

/// No other process has it.
pub(super) fn unlocked(dir: &Path) -> Finding {
    let result = if DirLock::is_held(dir) {
        let (file, there) = (dir.join(LOCK_FILE), dir.display());
        Err(Trouble::new(
            format!("{there} is in use by another process"),
            format!(
                "find it with `fuser '{there}' '{}'` and stop it, or choose another one with --data-dir",
                file.display()
            ),
        ))
    } else {
        Ok("nobody else has the directory".to_owned())
    };
    Finding::new("lock", result)
}

/// What lies in it is ours, whole, and not newer than we are.
pub(super) fn format(dir: &Path) -> Finding {
    let what = "format";
    let disk = match UringDisk::new(RING_ENTRIES) {
        Ok(disk) => disk,
        Err(error) => {
            return Finding::new(what, Err(Trouble::new(format!("no ring: {error}"), "see the line on io_uring")));
        }
    };
    let choose = "choose another one with --data-dir";
    let result = match block_on(&disk, Manifest::read(&disk, dir)) {
        Ok(Some(manifest)) => Ok(format!("data of node {}", manifest.node)),
        Ok(None) => match foreign_file(dir) {
            None => Ok("empty: a fresh node".to_owned()),
            Some(file) => Err(Trouble::new(
                format!("{} holds other files (such as {file}) and no data of this program", dir.display()),
                choose,
            )),
        },
        Err(ManifestError::Io { path, source }) if source.kind() == ErrorKind::PermissionDenied => Err(Trouble::new(
            format!("{} cannot be read: {source}", path.display()),
            format!("run `sudo chown -R \"$USER\" '{}'`, or {choose}", dir.display()),
        )),
        Err(error @ (ManifestError::Damaged(_) | ManifestError::Unsound { .. })) => {
            Err(Trouble { damaged: true, ..Trouble::new(error.to_string(), format!("or {choose}")) })
        }
        Err(error @ ManifestError::Newer { .. }) => Err(Trouble::new(error.to_string(), format!("or {choose}"))),
        Err(error) => Err(Trouble::new(error.to_string(), choose)),
    };
    Finding::new(what, result)
}

/// Something in `dir` that is not of this program.
fn foreign_file(dir: &Path) -> Option<String> {
    let ours = |name: &String| name == LOCK_FILE || name == UNFINISHED_MANIFEST;
    names(dir)?.find(|name| !(ours(name) || name == LOST_FOUND && holds_nothing(&dir.join(name))))
}

/// Nothing that this user may see: if a repair of the volume had put the node's own files there, the directory would not
/// be empty, and formatting it anew would be the wrong answer.
fn holds_nothing(dir: &Path) -> bool {
    dir.is_dir() && names(dir).is_none_or(|mut names| names.next().is_none())
}

fn names(dir: &Path) -> Option<impl Iterator<Item = String>> {
    let entries = fs::read_dir(dir).ok()?;
    Some(entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())))
}
