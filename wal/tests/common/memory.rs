//! A disk in memory with a capacity: nothing takes time, everything survives, and room may run out.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, FileEntry, OpenMode};

type Contents = Rc<RefCell<Vec<u8>>>;
/// What a process that dies leaves behind.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A disk in memory; clones share it.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    image: Rc<Image>,
}

#[derive(Default)]
struct Image {
    files: RefCell<BTreeMap<PathBuf, Contents>>,
    capacity: Cell<Option<u64>>,
    /// Allocations that were tried.
    allocations: Cell<u64>,
    /// The number of the one that is refused.
    refused: Cell<Option<u64>>,
    /// What a refused allocation answers.
    refusal: Cell<Option<io::ErrorKind>>,
    /// What every write into a file answers.
    write_error: Cell<Option<io::ErrorKind>>,
    /// The contents after each change, when they are wanted.
    history: RefCell<Option<Vec<Files>>>,
}

pub struct MemoryFile {
    image: Rc<Image>,
    contents: Contents,
}

impl MemoryDisk {
    /// A disk with room for `capacity` bytes in files.
    pub fn with_capacity(capacity: u64) -> Self {
        let disk = Self::default();
        disk.image.capacity.set(Some(capacity));
        disk
    }

    /// A disk that holds what another one held.
    pub fn holding(files: Files) -> Self {
        let disk = Self::default();
        let contents = files.into_iter().map(|(path, bytes)| (path, Rc::new(RefCell::new(bytes))));
        disk.image.files.borrow_mut().extend(contents);
        disk
    }

    /// What a process that dies now leaves behind.
    pub fn files(&self) -> Files {
        let copy = |(path, contents): (&PathBuf, &Contents)| (path.clone(), contents.borrow().clone());
        self.image.files.borrow().iter().map(copy).collect()
    }

    /// Begins to keep the contents after each change, and takes what was kept before.
    pub fn take_history(&self) -> Vec<Files> {
        self.image.history.replace(Some(Vec::new())).unwrap_or_default()
    }

    pub fn set_capacity(&self, capacity: u64) {
        self.image.capacity.set(Some(capacity));
    }

    /// Refuses the `number`-th allocation, counted from 0, with `kind`.
    pub fn refuse_allocation(&self, number: u64, kind: io::ErrorKind) {
        self.image.refused.set(Some(number));
        self.image.refusal.set(Some(kind));
    }

    pub fn allocations(&self) -> u64 {
        self.image.allocations.get()
    }

    /// Lets every write from now on fail.
    pub fn fail_writes(&self, kind: io::ErrorKind) {
        self.image.write_error.set(Some(kind));
    }

    /// The bytes of all files.
    pub fn used(&self) -> u64 {
        self.image.files.borrow().values().map(|contents| contents.borrow().len() as u64).sum()
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).expect("a plain name").to_owned();
        self.image.files.borrow().keys().map(name).collect()
    }

    /// Changes the bytes of a file behind the log's back.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let files = self.image.files.borrow();
        let (_, contents) = files.iter().find(|(path, _)| path.ends_with(name)).expect("the file is there");
        change(&mut contents.borrow_mut());
    }
}

impl Image {
    fn changed(&self) {
        if let Some(history) = &mut *self.history.borrow_mut() {
            let copy = |(path, contents): (&PathBuf, &Contents)| (path.clone(), contents.borrow().clone());
            history.push(self.files.borrow().iter().map(copy).collect());
        }
    }
}

/// Polls a future that waits for nothing outside of it. Panics when it makes no progress for long.
pub fn spin<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10_000_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("the future waits for something that never comes");
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<MemoryFile> {
        let mut files = self.image.files.borrow_mut();
        let contents = match mode {
            OpenMode::Read | OpenMode::WriteDirect => files.get(path).ok_or(io::ErrorKind::NotFound)?.clone(),
            OpenMode::Create | OpenMode::CreateDirect => {
                let contents = files.entry(path.to_owned()).or_default().clone();
                contents.borrow_mut().clear();
                contents
            }
        };
        Ok(MemoryFile { image: self.image.clone(), contents })
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        let files = self.image.files.borrow();
        let below = files.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entry = |(path, contents): (&PathBuf, &Contents)| FileEntry {
            name: path.file_name().and_then(|name| name.to_str()).expect("a plain name").to_owned(),
            len: contents.borrow().len() as u64,
        };
        Ok(below.map(entry).collect())
    }

    async fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.image.files.borrow_mut();
        let contents = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), contents);
        drop(files);
        self.image.changed();
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.image.files.borrow_mut().remove(path).ok_or(io::ErrorKind::NotFound)?;
        self.image.changed();
        Ok(())
    }

    async fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn exists(&self, path: &Path) -> io::Result<bool> {
        let files = self.image.files.borrow();
        Ok(files.keys().any(|file| file == path || file.parent() == Some(path)))
    }
}

impl DiskFile for MemoryFile {
    async fn read_at(&self, offset: u64, len: usize) -> io::Result<AlignedBuf> {
        let contents = self.contents.borrow();
        let from = (offset as usize).min(contents.len());
        Ok(AlignedBuf::copy_of(&contents[from..(from + len).min(contents.len())]))
    }

    async fn write_at(&self, offset: u64, buf: AlignedBuf, _: Durability) -> io::Result<AlignedBuf> {
        if let Some(kind) = self.image.write_error.get() {
            return Err(kind.into());
        }
        let from = offset as usize;
        self.contents.borrow_mut()[from..from + buf.len()].copy_from_slice(&buf);
        self.image.changed();
        Ok(buf)
    }

    async fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(self.contents.borrow().len() as u64)
    }

    async fn allocate_zeroed(&self, len: u64) -> io::Result<()> {
        let image = &self.image;
        let number = image.allocations.replace(image.allocations.get() + 1);
        let used: u64 = image.files.borrow().values().map(|contents| contents.borrow().len() as u64).sum();
        let fits = image.capacity.get().is_none_or(|capacity| used + len <= capacity);
        if !fits || image.refused.get() == Some(number) {
            // As much as a real disk might have given before it ran out.
            self.contents.borrow_mut().resize(len as usize / 2, 0);
            return Err(image.refusal.get().unwrap_or(io::ErrorKind::StorageFull).into());
        }
        *self.contents.borrow_mut() = vec![0; len as usize];
        image.changed();
        Ok(())
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.contents.borrow_mut().resize(len as usize, 0);
        Ok(())
    }
}
