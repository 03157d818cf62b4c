//! A disk that dies: after a given number of operations that change something, the next one is torn and every later one
//! fails. What a process leaves behind when it is killed there.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::rc::Rc;

use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, FileEntry, OpenMode, UringDisk, UringFile};

use super::Rng;

const SECTOR: usize = 512;

#[derive(Clone)]
pub struct DyingDisk {
    inner: UringDisk,
    life: Rc<Life>,
}

struct Life {
    steps_left: Cell<u64>,
    tried_after: Cell<u64>,
    rng: RefCell<Rng>,
}

pub struct DyingFile {
    inner: UringFile,
    life: Rc<Life>,
}

impl DyingDisk {
    pub fn new(inner: &UringDisk, steps: u64, rng: Rng) -> Self {
        let life = Life { steps_left: Cell::new(steps), tried_after: Cell::new(0), rng: RefCell::new(rng) };
        Self { inner: inner.clone(), life: Rc::new(life) }
    }

    /// Operations that were tried on the dead disk, the one that died included.
    pub fn tried_after_death(&self) -> u64 {
        self.life.tried_after.get()
    }
}

impl Life {
    fn step(&self) -> io::Result<()> {
        match self.steps_left.get().checked_sub(1) {
            Some(left) => {
                self.steps_left.set(left);
                Ok(())
            }
            None => {
                self.tried_after.set(self.tried_after.get() + 1);
                Err(io::Error::from_raw_os_error(5))
            }
        }
    }
}

impl Disk for DyingDisk {
    type File = DyingFile;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<DyingFile> {
        if matches!(mode, OpenMode::Create | OpenMode::CreateDirect) {
            self.life.step()?;
        }
        Ok(DyingFile { inner: self.inner.open(path, mode).await?, life: self.life.clone() })
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        self.inner.list(dir).await
    }

    async fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.life.step()?;
        self.inner.create_dir_all(dir).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.life.step()?;
        self.inner.rename(from, to).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.life.step()?;
        self.inner.remove(path).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.life.step()?;
        self.inner.sync_dir(dir).await
    }

    async fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path).await
    }
}

impl DiskFile for DyingFile {
    async fn read_at(&self, offset: u64, len: usize) -> io::Result<AlignedBuf> {
        self.inner.read_at(offset, len).await
    }

    async fn write_at(&self, offset: u64, buf: AlignedBuf, durability: Durability) -> io::Result<AlignedBuf> {
        let dying = self.life.steps_left.get() == 0 && self.life.tried_after.get() == 0;
        if let Err(error) = self.life.step() {
            if dying && !buf.is_empty() {
                self.write_torn(offset, &buf).await?;
            }
            return Err(error);
        }
        self.inner.write_at(offset, buf, durability).await
    }

    async fn sync(&self) -> io::Result<()> {
        self.life.step()?;
        self.inner.sync().await
    }

    async fn len(&self) -> io::Result<u64> {
        self.inner.len().await
    }

    async fn allocate_zeroed(&self, len: u64) -> io::Result<()> {
        self.life.step()?;
        self.inner.allocate_zeroed(len).await
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.life.step()?;
        self.inner.truncate(len).await
    }
}

impl DyingFile {
    /// Each sector of the write lands or does not; at least one does not.
    async fn write_torn(&self, offset: u64, buf: &AlignedBuf) -> io::Result<()> {
        let mut mixed = self.inner.read_at(offset, buf.len()).await?;
        {
            let mut rng = self.life.rng.borrow_mut();
            let sectors = buf.len().div_ceil(SECTOR) as u64;
            let lost = rng.below(sectors);
            for sector in (0..sectors).filter(|&sector| sector != lost) {
                if rng.below(2) == 0 {
                    let range = sector as usize * SECTOR..(sector as usize + 1) * SECTOR;
                    mixed[range.clone()].copy_from_slice(&buf[range]);
                }
            }
        }
        self.inner.write_at(offset, mixed, Durability::Durable).await.map(drop)
    }
}
