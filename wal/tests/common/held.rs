//! A disk whose writes of batches, and allocations of files, end when and how the test says, in any order. Drive it with
//! `spin`: it wakes nobody.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::task::Poll;

use kahuna_wal::{AlignedBuf, BLOCK_BYTES, Disk, DiskFile, Durability, FileEntry, OpenMode};

use super::memory::{MemoryDisk, MemoryFile};

/// How a write ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Lands,
    /// Nothing of it lands.
    Fails,
    /// So many of its bytes land, and nobody hears of it.
    Torn(usize),
}

#[derive(Clone)]
pub struct HeldDisk {
    inner: MemoryDisk,
    held: Rc<Held>,
}

#[derive(Default)]
struct Held {
    holding: Cell<bool>,
    holding_allocations: Cell<bool>,
    /// Allocations that wait.
    allocating: Cell<usize>,
    /// One per write that was held, in the order they came; `None` while it waits.
    fates: RefCell<Vec<Option<Fate>>>,
}

pub struct HeldFile {
    inner: MemoryFile,
    held: Rc<Held>,
}

impl HeldDisk {
    pub fn new(inner: &MemoryDisk) -> Self {
        Self { inner: inner.clone(), held: Rc::default() }
    }

    /// Lets every write of a batch from now on wait for [`HeldDisk::end`].
    pub fn hold(&self) {
        self.held.holding.set(true);
    }

    /// Lets every allocation from now on wait, or all of them go on.
    pub fn hold_allocations(&self, hold: bool) {
        self.held.holding_allocations.set(hold);
    }

    /// How many allocations wait.
    pub fn allocating(&self) -> usize {
        self.held.allocating.get()
    }

    /// The numbers of the writes that wait, in the order they came; counted from 0.
    pub fn waiting(&self) -> Vec<usize> {
        let fates = self.held.fates.borrow();
        (0..fates.len()).filter(|&number| fates[number].is_none()).collect()
    }

    pub fn end(&self, number: usize, fate: Fate) {
        let before = self.held.fates.borrow_mut()[number].replace(fate);
        assert_eq!(before, None, "a write ends once");
    }
}

impl Disk for HeldDisk {
    type File = HeldFile;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<HeldFile> {
        Ok(HeldFile { inner: self.inner.open(path, mode).await?, held: self.held.clone() })
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        self.inner.list(dir).await
    }

    async fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir).await
    }

    async fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path).await
    }
}

impl DiskFile for HeldFile {
    async fn read_at(&self, offset: u64, len: usize) -> io::Result<AlignedBuf> {
        self.inner.read_at(offset, len).await
    }

    async fn write_at(&self, offset: u64, buf: AlignedBuf, durability: Durability) -> io::Result<AlignedBuf> {
        let is_batch = durability == Durability::Durable && offset >= BLOCK_BYTES as u64;
        if !is_batch || !self.held.holding.get() {
            return self.inner.write_at(offset, buf, durability).await;
        }
        let number = self.held.fates.borrow().len();
        self.held.fates.borrow_mut().push(None);
        let fate = poll_fn(|_| self.held.fates.borrow()[number].map_or(Poll::Pending, Poll::Ready)).await;
        match fate {
            Fate::Lands => self.inner.write_at(offset, buf, durability).await,
            Fate::Fails => Err(io::Error::from_raw_os_error(5)),
            Fate::Torn(bytes) => {
                let part = AlignedBuf::copy_of(&buf[..bytes.min(buf.len())]);
                self.inner.write_at(offset, part, durability).await?;
                std::future::pending().await
            }
        }
    }

    async fn sync(&self) -> io::Result<()> {
        self.inner.sync().await
    }

    async fn len(&self) -> io::Result<u64> {
        self.inner.len().await
    }

    async fn allocate_zeroed(&self, len: u64) -> io::Result<()> {
        self.held.allocating.update(|count| count + 1);
        poll_fn(|_| if self.held.holding_allocations.get() { Poll::Pending } else { Poll::Ready(()) }).await;
        self.held.allocating.update(|count| count - 1);
        self.inner.allocate_zeroed(len).await
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.inner.truncate(len).await
    }
}
