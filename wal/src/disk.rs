//! The seam to storage: everything the log does to the outside goes through [`Disk`] and [`DiskFile`].
//!
//! Two implementations exist: [`UringDisk`](crate::UringDisk) for Linux, and an in-memory one of the simulator that
//! loses what was never made durable. A correct implementation promises:
//!
//! - a write with [`Durability::Durable`], once it returned `Ok`, survives a crash together with the file's content up to
//!   its end, provided the file's name was made durable by [`Disk::sync_dir`];
//! - [`DiskFile::sync`] makes every earlier completed write of that file durable;
//! - names (create, rename, remove) are durable after [`Disk::sync_dir`] of their directory;
//! - a dropped future may abandon its answer, never corrupt memory: buffers belong to the operation until it ends.

use std::io;
use std::path::Path;

use crate::AlignedBuf;

/// How a file is opened. Direct modes bypass the page cache: offset and length must be multiples of 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading at any offset.
    Read,
    /// An existing file, for direct reading and writing.
    WriteDirect,
    /// A new file (an old one of that name is emptied), for buffered reading and writing at any offset and length.
    Create,
    /// A new file (an old one of that name is emptied), for direct reading and writing.
    CreateDirect,
}

/// What a completed write promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The bytes can be read back; a crash may lose them until [`DiskFile::sync`].
    Buffered,
    /// The bytes survive a crash.
    Durable,
}

/// One regular file of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// The name within the directory.
    pub name: String,
    /// The length in bytes.
    pub len: u64,
}

/// Whether the system refused to open a file, or a directory for [`Disk::sync_dir`], for want of descriptors or memory.
/// Such a refusal is temporary and has changed nothing.
pub fn cannot_open(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// A cheap handle to a storage device; clones share it. Used by one thread; all paths are absolute.
#[allow(async_fn_in_trait, reason = "a shard is single-threaded: no future of a disk is ever sent to another thread")]
pub trait Disk: Clone + 'static {
    /// An open file of this disk.
    type File: DiskFile;

    /// Opens a file. Errors are those of the system: `NotFound` for a missing one in the modes that need it; see
    /// [`cannot_open`].
    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File>;

    /// The regular files of `dir`, sorted by name.
    async fn list(&self, dir: &Path) -> io::Result<Vec<FileEntry>>;

    /// Creates `dir` and its parents where missing, and makes the names of all that it created durable.
    async fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file, replacing `to`; durable after [`Disk::sync_dir`].
    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; durable after [`Disk::sync_dir`].
    async fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes every name in `dir` durable. After an error for which [`cannot_open`] holds it may be asked again.
    async fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether a file or directory of that name exists.
    async fn exists(&self, path: &Path) -> io::Result<bool>;
}

#[allow(clippy::len_without_is_empty, reason = "the length of a file is asked of the system, it is no container")]
/// An owned open file; it closes when dropped and when its last operation has ended.
#[allow(async_fn_in_trait, reason = "a shard is single-threaded: no future of a disk is ever sent to another thread")]
pub trait DiskFile: 'static {
    /// Reads up to `len` bytes at `offset`; the answer is shorter only where the file ends.
    async fn read_at(&self, offset: u64, len: usize) -> io::Result<AlignedBuf>;

    /// Writes all of `buf` at `offset` and gives it back. After an error what the file holds there is unknown.
    async fn write_at(&self, offset: u64, buf: AlignedBuf, durability: Durability) -> io::Result<AlignedBuf>;

    /// Makes every completed write of this file durable (data and length).
    async fn sync(&self) -> io::Result<()>;

    /// The length of the file in bytes.
    async fn len(&self) -> io::Result<u64>;

    /// Makes the file `len` bytes long, allocated and filled with zeros, so that later writes change no metadata. What it
    /// held before is gone. Durable after [`DiskFile::sync`]. Fails with `StorageFull` when there is no room.
    async fn allocate_zeroed(&self, len: u64) -> io::Result<()>;

    /// Cuts or extends the file to `len` bytes; durable after [`DiskFile::sync`].
    async fn truncate(&self, len: u64) -> io::Result<()>;
}
