//! A disk that measures how many durable writes are in flight.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, FileEntry, OpenMode};

/// Hands everything on and adds up the time that durable writes are in flight.
#[derive(Clone)]
pub struct Metered<D> {
    inner: D,
    writing: Rc<Cell<Duration>>,
}

/// An open file of a [`Metered`] disk.
pub struct MeteredFile<F> {
    inner: F,
    writing: Rc<Cell<Duration>>,
}

impl<D> Metered<D> {
    pub fn new(inner: D) -> Self {
        Self { inner, writing: Rc::default() }
    }

    /// The time of all durable writes that ended, added up. Divided by the elapsed time it is their mean number in flight.
    pub fn writing(&self) -> Duration {
        self.writing.get()
    }
}

impl<D: Disk> Disk for Metered<D> {
    type File = MeteredFile<D::File>;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File> {
        Ok(MeteredFile { inner: self.inner.open(path, mode).await?, writing: self.writing.clone() })
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

impl<F: DiskFile> DiskFile for MeteredFile<F> {
    async fn read_at(&self, offset: u64, len: usize) -> io::Result<AlignedBuf> {
        self.inner.read_at(offset, len).await
    }

    async fn write_at(&self, offset: u64, buf: AlignedBuf, durability: Durability) -> io::Result<AlignedBuf> {
        let began = Instant::now();
        let written = self.inner.write_at(offset, buf, durability).await;
        if durability == Durability::Durable {
            self.writing.set(self.writing.get() + began.elapsed());
        }
        written
    }

    async fn sync(&self) -> io::Result<()> {
        self.inner.sync().await
    }

    async fn len(&self) -> io::Result<u64> {
        self.inner.len().await
    }

    async fn allocate_zeroed(&self, len: u64) -> io::Result<()> {
        self.inner.allocate_zeroed(len).await
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.inner.truncate(len).await
    }
}
