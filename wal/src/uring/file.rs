//! [`Disk`] over the ring. Plain system calls are only these: the length of an open file and its lock, which wait for nothing on
//! the disk, and the list of a directory, which the ring cannot do and which is asked for when a log or a group is opened.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use io_uring::{opcode, types};
use rustix::fs::{fstat, ftruncate};

use super::descriptor::Descriptor;
use super::names::{self, or_plainly, outcome};
use super::predecessor::hold_while_writing;
use super::ring::Ring;
use crate::{AlignedBuf, Disk, DiskFile, Durability, FileEntry, OpenMode};

/// Bytes zeroed per write when a segment is prepared: small enough that a flush of the log never waits long behind one.
const ZERO_CHUNK_BYTES: usize = 256 << 10;

/// The disk of one shard: a handle to its ring.
#[derive(Clone)]
pub struct UringDisk {
    ring: Rc<Ring>,
}

impl UringDisk {
    /// A disk with a ring of its own, with room for `entries` submissions, which [`block_on`](super::block_on) drives.
    ///
    /// # Errors
    /// As [`Ring::new`].
    pub fn new(entries: u32) -> io::Result<Self> {
        Ok(Self::on(&Ring::new(entries)?))
    }

    /// A disk on the ring of whoever drives it.
    pub fn on(ring: &Rc<Ring>) -> Self {
        Self { ring: ring.clone() }
    }

    /// Submits what was asked for, takes every completion there is and wakes the futures that wait for one. Returns how many
    /// there were.
    pub fn look(&self) -> usize {
        self.ring.look()
    }

    /// Operations that were submitted and have not ended.
    pub fn in_flight(&self) -> usize {
        self.ring.in_flight()
    }

    /// Blocks this thread until at least one operation ended, then drains. Never returns when nothing is in flight.
    pub(super) fn wait(&self) -> io::Result<usize> {
        self.ring.wait(None)
    }

    async fn open_dir(&self, dir: &Path) -> io::Result<UringFile> {
        self.opened(dir, libc::O_RDONLY | libc::O_DIRECTORY).await
    }

    async fn opened(&self, path: &Path, flags: i32) -> io::Result<UringFile> {
        let fd: OwnedFd = names::open(&self.ring, path, flags).await?;
        let file = Descriptor::new(fd, Rc::downgrade(&self.ring)).into();
        Ok(UringFile { ring: self.ring.clone(), file })
    }
}

impl Disk for UringDisk {
    type File = UringFile;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<UringFile> {
        let flags = match mode {
            OpenMode::Read => libc::O_RDONLY,
            OpenMode::WriteDirect => libc::O_RDWR | libc::O_DIRECT,
            OpenMode::Create => libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC,
            OpenMode::CreateDirect => libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | libc::O_DIRECT,
        };
        let opened = self.opened(path, flags).await?;
        if flags & libc::O_DIRECT != 0 {
            hold_while_writing(&*opened.file)?;
        }
        Ok(opened)
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            // Names this crate writes are ASCII; a name that is no UTF-8 is not one of them.
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                entries.push(FileEntry { name, len: metadata.len() });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        for ancestor in dir.ancestors() {
            if let Ok(true) = self.exists(ancestor).await {
                break;
            }
            missing.push(ancestor);
        }
        // One after the other: whatever is there when one fails has a durable name, so that the next attempt may rest on it.
        for missing in missing.into_iter().rev() {
            // Open before anything is made: if that cannot be, the next attempt finds nothing whose name is not durable.
            let parent = match missing.parent() {
                Some(parent) => Some(self.open_dir(parent).await?),
                None => None,
            };
            match names::make_dir(&self.ring, missing).await {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            if let Some(parent) = parent {
                parent.sync_names().await?;
            }
        }
        Ok(())
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        names::rename(&self.ring, from, to).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        names::remove(&self.ring, path).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.open_dir(dir).await?.sync_names().await
    }

    async fn exists(&self, path: &Path) -> io::Result<bool> {
        match names::open(&self.ring, path, libc::O_PATH).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            opened => opened.map(|_| true),
        }
    }
}

/// An open file of a [`UringDisk`].
pub struct UringFile {
    ring: Rc<Ring>,
    file: Rc<Descriptor>,
}

impl UringFile {
    fn fd(&self) -> types::Fd {
        types::Fd(self.file.as_raw_fd())
    }

    async fn flush(&self, flags: types::FsyncFlags) -> io::Result<()> {
        let fd = self.fd();
        // SAFETY: the entry names no memory, and the file's own descriptor.
        let flushed = unsafe { self.ring.submit(&self.file, None, |_, _| opcode::Fsync::new(fd).flags(flags).build()) };
        outcome(flushed.await.result()).map(drop)
    }

    /// Of a directory. A flush that lacked memory says so in other words than an opening that did: it must not be repeated.
    async fn sync_names(&self) -> io::Result<()> {
        self.flush(types::FsyncFlags::empty()).await.map_err(|error| match error.raw_os_error() {
            Some(libc::ENOMEM) => io::Error::new(io::ErrorKind::OutOfMemory, format!("flush: {error}")),
            _ => error,
        })
    }
}

impl DiskFile for UringFile {
    async fn read_at(&self, offset: u64, len: usize) -> io::Result<AlignedBuf> {
        let fd = self.fd();
        let mut read_so_far = 0;
        let mut buf = AlignedBuf::zeroed(len);
        while read_so_far < len {
            let at = offset + read_so_far as u64;
            // SAFETY: the entry names the buffer's bytes from `read_so_far` to its length, and the file's own descriptor.
            let read = unsafe {
                self.ring.submit(&self.file, Some(buf), |memory, len| {
                    opcode::Read::new(fd, memory.add(read_so_far), (len - read_so_far) as u32).offset(at).build()
                })
            };
            let mut completed = read.await;
            buf = completed.buf.take().expect("the operation was given a buffer");
            match outcome(completed.result())? {
                0 => break,
                read => read_so_far += read,
            }
        }
        buf.truncate(read_so_far);
        Ok(buf)
    }

    async fn write_at(&self, offset: u64, mut buf: AlignedBuf, durability: Durability) -> io::Result<AlignedBuf> {
        let fd = self.fd();
        let flags = match durability {
            Durability::Buffered => 0,
            Durability::Durable => libc::RWF_DSYNC,
        };
        let len = buf.len();
        let mut written_so_far = 0;
        while written_so_far < len {
            let at = offset + written_so_far as u64;
            // SAFETY: the entry names the buffer's bytes from `written_so_far` to its length, and the file's own descriptor.
            let write = unsafe {
                self.ring.submit(&self.file, Some(buf), |memory, len| {
                    opcode::Write::new(fd, memory.add(written_so_far), (len - written_so_far) as u32)
                        .offset(at)
                        .rw_flags(flags)
                        .build()
                })
            };
            let mut completed = write.await;
            buf = completed.buf.take().expect("the operation was given a buffer");
            match outcome(completed.result())? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => written_so_far += written,
            }
        }
        Ok(buf)
    }

    async fn sync(&self) -> io::Result<()> {
        self.flush(types::FsyncFlags::DATASYNC).await
    }

    async fn len(&self) -> io::Result<u64> {
        let stat = fstat(&self.file)?;
        Ok(u64::try_from(stat.st_size).expect("no length is negative"))
    }

    async fn allocate_zeroed(&self, len: u64) -> io::Result<()> {
        self.truncate(0).await?;
        let fd = self.fd();
        // SAFETY: the entry names no memory, and the file's own descriptor.
        let allocated = unsafe { self.ring.submit(&self.file, None, |_, _| opcode::Fallocate::new(fd, len).build()) };
        outcome(allocated.await.result())?;
        // Allocated blocks are "unwritten" until written once, and each first write would journal metadata.
        let mut zeros = AlignedBuf::zeroed(ZERO_CHUNK_BYTES);
        let mut offset = 0;
        while offset < len {
            zeros.truncate(usize::try_from(len - offset).unwrap_or(usize::MAX));
            zeros = self.write_at(offset, zeros, Durability::Buffered).await?;
            offset += zeros.len() as u64;
        }
        Ok(())
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        let fd = self.fd();
        // SAFETY: the entry names no memory, and the file's own descriptor.
        let cutting = unsafe { self.ring.submit(&self.file, None, |_, _| opcode::Ftruncate::new(fd, len).build()) };
        or_plainly(cutting.await.result(), || Ok(ftruncate(&self.file, len)?))
    }
}
