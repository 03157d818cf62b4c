//! The disk and its open files, as the log sees them.

use std::{
    cell::{Cell, RefCell},
    io,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use kahuna_shards::env::Env;
use kahuna_wal::{AlignedBuf, BLOCK_BYTES, Disk, DiskFile, Durability, FileEntry, OpenMode};

use super::image::{DiskOp, DiskOptions, DiskStats, Image, SharedInode};
use crate::{Sim, exec::SimRng};

/// Streams of randomness of a disk.
const STREAM_LOSSES: u64 = 1;
const STREAM_DELAYS: u64 = 2;
/// How often a held operation looks whether it may go on.
const HELD_LOOK: Duration = Duration::from_millis(1);

struct Shared {
    image: RefCell<Image>,
    delays: SimRng,
    latency_nanos: Cell<(u64, u64)>,
    /// Operations of this kind wait.
    held: Cell<Option<DiskOp>>,
}

impl Shared {
    /// Lets the time of one operation pass, then checks that it may succeed.
    async fn admit(&self, op: DiskOp) -> io::Result<()> {
        while self.held.get() == Some(op) {
            Sim::sleep(HELD_LOOK).await;
        }
        let (least, most) = self.latency_nanos.get();
        if most > 0 {
            Sim::sleep(Duration::from_nanos(self.delays.between(least, most))).await;
        }
        self.image.borrow_mut().admit(op)
    }
}

/// A disk in memory; clones share it. It outlives the nodes that use it, as a real one does.
#[derive(Clone)]
pub struct SimDisk(Rc<Shared>);

impl SimDisk {
    /// An empty disk with nothing but a root directory.
    pub fn new(options: DiskOptions) -> Self {
        let image = Image::new(&options, SimRng::new(options.seed, STREAM_LOSSES));
        Self(Rc::new(Shared {
            image: RefCell::new(image),
            delays: SimRng::new(options.seed, STREAM_DELAYS),
            latency_nanos: Cell::new(options.latency_nanos),
            held: Cell::new(None),
        }))
    }

    /// Power is lost: what was not durable is lost, in parts or whole. Kill the nodes that use the disk before.
    pub fn crash(&self) {
        self.0.image.borrow_mut().crash();
    }

    /// Lets every operation of kind `op` fail with `kind`, once `after` more of them have succeeded.
    pub fn fail(&self, op: DiskOp, after: u64, kind: io::ErrorKind) {
        self.0.image.borrow_mut().fail(op, after, kind);
    }

    /// Makes the disk so large that this many bytes more fit on it; `u64::MAX` for no bound.
    pub fn leave_room(&self, bytes: u64) {
        self.0.image.borrow_mut().leave_room(bytes);
    }

    /// Lets operations of kind `op` wait from now on, until [`let_go`](Self::let_go). Only within a world.
    pub fn hold(&self, op: DiskOp) {
        self.0.held.set(Some(op));
    }

    /// Lets what is held go on.
    pub fn let_go(&self) {
        self.0.held.set(None);
    }

    /// Takes all injected faults back.
    pub fn mend(&self) {
        self.0.image.borrow_mut().mend();
    }

    /// From now on an operation takes between `least` and `most` nanoseconds.
    pub fn set_latency_nanos(&self, least: u64, most: u64) {
        self.0.latency_nanos.set((least, most));
    }

    /// The directories right below `dir`, by name.
    pub fn directories(&self, dir: &Path) -> Vec<PathBuf> {
        self.0.image.borrow().names.dirs_in(dir)
    }

    /// Removes a directory and all below it, at once; a power loss brings back what was durable.
    pub fn remove_tree(&self, dir: &Path) {
        self.0.image.borrow_mut().names.remove_tree(dir);
    }

    /// Flips the bits of `mask` in the byte at `offset` of a file, durably. Nothing happens past its end.
    ///
    /// # Errors
    ///
    /// When there is no such file.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let file = self.0.image.borrow().file(path)?;
        file.borrow_mut().flip(index(offset), mask);
        Ok(())
    }

    /// The content of a file, as reads see it.
    ///
    /// # Errors
    ///
    /// When there is no such file.
    pub fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.0.image.borrow().file(path)?;
        let contents = file.borrow().live().to_vec();
        Ok(contents)
    }

    /// What it has done so far.
    pub fn stats(&self) -> DiskStats {
        self.0.image.borrow().stats
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<SimFile> {
        self.0.admit(DiskOp::Open).await?;
        let mut image = self.0.image.borrow_mut();
        let file = match image.file(path) {
            Ok(file) => {
                if matches!(mode, OpenMode::Create | OpenMode::CreateDirect) {
                    file.borrow_mut().set_len(0);
                }
                file
            }
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && mode != OpenMode::Read
                    && mode != OpenMode::WriteDirect =>
            {
                let inode = image.create();
                image.names.link(path, inode)?;
                image.numbered(inode)
            }
            Err(error) => return Err(error),
        };
        Ok(SimFile {
            disk: self.0.clone(),
            file,
            direct: matches!(mode, OpenMode::WriteDirect | OpenMode::CreateDirect),
            writable: mode != OpenMode::Read,
        })
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        self.0.admit(DiskOp::Meta).await?;
        let image = self.0.image.borrow();
        let files = image.names.files_in(dir)?;
        Ok(files
            .into_iter()
            .map(|(name, inode)| FileEntry { name, len: image.numbered(inode).borrow().live().len() as u64 })
            .collect())
    }

    async fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let is_there = self.0.image.borrow().names.get(dir).is_some();
        self.0.admit(if is_there { DiskOp::Meta } else { DiskOp::MakeDir }).await?;
        self.0.image.borrow_mut().names.make_dirs(dir)
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.admit(DiskOp::Meta).await?;
        let mut image = self.0.image.borrow_mut();
        let inode = image.names.file(from)?;
        image.names.link(to, inode)?;
        if from != to {
            image.names.unlink(from)?;
        }
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.admit(DiskOp::Meta).await?;
        self.0.image.borrow_mut().names.unlink(path).map(drop)
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.admit(DiskOp::Sync).await?;
        let mut image = self.0.image.borrow_mut();
        image.stats.flushes += 1;
        image.sync_dir(dir)
    }

    async fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.admit(DiskOp::Meta).await?;
        Ok(self.0.image.borrow().names.get(path).is_some())
    }
}

/// Open file of a simulated disk.
pub struct SimFile {
    disk: Rc<Shared>,
    file: SharedInode,
    direct: bool,
    writable: bool,
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a simulated file fits into memory")
}

impl SimFile {
    fn expect_aligned(&self, offset: u64, len: usize) -> io::Result<()> {
        let block = BLOCK_BYTES as u64;
        if self.direct && !(offset.is_multiple_of(block) && (len as u64).is_multiple_of(block)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "direct I/O is by whole blocks"));
        }
        Ok(())
    }

    fn expect_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    fn size(&self) -> usize {
        self.file.borrow().live().len()
    }
}

/// A write under way. The device has it already: whatever becomes of the future that waits, the bytes arrive.
struct Writing<'a> {
    file: &'a SimFile,
    offset: usize,
    buf: Option<AlignedBuf>,
}

impl Writing<'_> {
    fn end(&mut self, durability: Durability) -> AlignedBuf {
        let buf = self.buf.take().expect("a write ends once");
        let durable = durability == Durability::Durable;
        self.file.file.borrow_mut().write(self.offset, &buf, durable);
        let stats = &mut self.file.disk.image.borrow_mut().stats;
        stats.written += buf.len() as u64;
        stats.flushes += u64::from(durable);
        buf
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if self.buf.is_some() {
            // It failed, or nobody will learn that it was durable. So it is not: a power loss may still tear it.
            drop(self.end(Durability::Buffered));
        }
    }
}

impl DiskFile for SimFile {
    async fn read_at(&self, offset: u64, len: usize) -> io::Result<AlignedBuf> {
        self.expect_aligned(offset, len)?;
        self.disk.admit(DiskOp::Read).await?;
        let file = self.file.borrow();
        let from = index(offset).min(file.live().len());
        let to = from.saturating_add(len).min(file.live().len());
        Ok(AlignedBuf::copy_of(&file.live()[from..to]))
    }

    async fn write_at(&self, offset: u64, buf: AlignedBuf, durability: Durability) -> io::Result<AlignedBuf> {
        self.expect_writable()?;
        self.expect_aligned(offset, buf.len())?;
        let offset = index(offset);
        self.disk.image.borrow().expect_room(&self.file, self.size().max(offset + buf.len()))?;
        let mut writing = Writing { file: self, offset, buf: Some(buf) };
        self.disk.admit(DiskOp::Write).await?;
        Ok(writing.end(durability))
    }

    async fn sync(&self) -> io::Result<()> {
        self.disk.admit(DiskOp::Sync).await?;
        self.disk.image.borrow_mut().stats.flushes += 1;
        self.file.borrow_mut().sync();
        Ok(())
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(self.size() as u64)
    }

    async fn allocate_zeroed(&self, len: u64) -> io::Result<()> {
        self.expect_writable()?;
        self.disk.admit(DiskOp::Write).await?;
        self.disk.image.borrow().expect_room(&self.file, index(len))?;
        self.file.borrow_mut().zero(index(len));
        Ok(())
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.expect_writable()?;
        self.disk.admit(DiskOp::Meta).await?;
        self.disk.image.borrow().expect_room(&self.file, index(len))?;
        self.file.borrow_mut().set_len(index(len));
        Ok(())
    }
}
