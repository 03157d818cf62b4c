//! A disk in memory with two images, what reads see and what a power loss leaves, and one fault at a chosen operation.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, FileEntry, OpenMode};

use super::Rng;

/// What a device writes in one piece or not at all.
pub const SECTOR: usize = 512;

/// Kinds of operations that a fault can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Open,
    Read,
    Write,
    Sync,
    Allocate,
    Rename,
    Remove,
    SyncDir,
    List,
}

pub const EVERY_OP: &[Op] =
    &[Op::Open, Op::Read, Op::Write, Op::Sync, Op::Allocate, Op::Rename, Op::Remove, Op::SyncDir, Op::List];

/// What happens at the chosen operation.
#[derive(Clone, Debug)]
pub enum Fault {
    /// EIO, this once: a write lands in part, what was to be synced never will be.
    Fail,
    /// EIO for this operation and all that follow.
    PowerOff,
    /// A write says that it is done, and is nowhere.
    Lose,
    /// A write says that it is done, and is there: file name (if there is one of that name) and offset.
    Misdirect(String, u64),
    /// This error of the system, this once; nothing is changed.
    Refuse(i32),
    /// A read gives half of what there is.
    ShortRead,
}

/// The contents of all files, by name.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A disk in memory; clones share it.
#[derive(Clone)]
pub struct FaultyDisk {
    shared: Rc<Shared>,
}

struct Shared {
    names: RefCell<BTreeMap<PathBuf, Rc<Inode>>>,
    /// The names that a power loss leaves, and what was done to names since.
    durable_names: RefCell<BTreeMap<PathBuf, Rc<Inode>>>,
    name_changes: RefCell<Vec<NameChange>>,
    plan: RefCell<Option<Plan>>,
    off: Cell<bool>,
    struck: Cell<bool>,
    rng: RefCell<Rng>,
}

#[derive(Clone)]
enum NameChange {
    Link(PathBuf, Rc<Inode>),
    Unlink(PathBuf),
}

struct Plan {
    left: u64,
    ops: &'static [Op],
    fault: Fault,
}

#[derive(Default)]
struct Inode {
    live: RefCell<Vec<u8>>,
    durable: RefCell<Vec<u8>>,
    /// Sectors of `live` that the next sync makes durable.
    unsynced: RefCell<BTreeSet<usize>>,
    /// Sectors whose sync failed: only another write can make them durable.
    doomed: RefCell<BTreeSet<usize>>,
}

pub struct FaultyFile {
    shared: Rc<Shared>,
    inode: Rc<Inode>,
    direct: bool,
}

impl FaultyDisk {
    pub fn new(seed: u64) -> Self {
        Self::holding(&Files::new(), seed)
    }

    /// A disk that holds these files, all durable.
    pub fn holding(files: &Files, seed: u64) -> Self {
        let inode = |bytes: &Vec<u8>| {
            Rc::new(Inode { live: bytes.clone().into(), durable: bytes.clone().into(), ..Inode::default() })
        };
        let names: BTreeMap<_, _> = files.iter().map(|(path, bytes)| (path.clone(), inode(bytes))).collect();
        let shared = Shared {
            names: names.clone().into(),
            durable_names: names.into(),
            name_changes: RefCell::default(),
            plan: RefCell::default(),
            off: Cell::new(false),
            struck: Cell::new(false),
            rng: Rng::quiet(seed).into(),
        };
        Self { shared: Rc::new(shared) }
    }

    /// Lets `fault` strike the operation number `at`, from 0, among those of these kinds from now on.
    pub fn strike(&self, at: u64, ops: &'static [Op], fault: Fault) {
        *self.shared.plan.borrow_mut() = Some(Plan { left: at, ops, fault });
    }

    /// Whether the fault has struck.
    pub fn struck(&self) -> bool {
        self.shared.struck.get()
    }

    /// What reads see of every file.
    pub fn files(&self) -> Files {
        let names = self.shared.names.borrow();
        names.iter().map(|(path, inode)| (path.clone(), inode.live.borrow().clone())).collect()
    }

    /// What a power loss leaves now: of what was not synced, some sectors, and name changes up to some point.
    pub fn after_power_loss(&self, rng: &mut Rng) -> Files {
        let mut names = self.shared.durable_names.borrow().clone();
        let changes = self.shared.name_changes.borrow();
        let kept = rng.below(changes.len() as u64 + 1) as usize;
        for change in &changes[..kept] {
            match change.clone() {
                NameChange::Link(path, inode) => drop(names.insert(path, inode)),
                NameChange::Unlink(path) => drop(names.remove(&path)),
            }
        }
        names.iter().map(|(path, inode)| (path.clone(), inode.after_power_loss(rng))).collect()
    }
}

impl Inode {
    fn write(&self, offset: usize, bytes: &[u8], durable: bool) {
        let mut live = self.live.borrow_mut();
        let end = offset + bytes.len();
        if live.len() < end {
            live.resize(end, 0);
        }
        live[offset..end].copy_from_slice(bytes);
        drop(live);
        let sectors = offset / SECTOR..end.div_ceil(SECTOR);
        self.doomed.borrow_mut().retain(|sector| !sectors.contains(sector));
        if durable {
            self.unsynced.borrow_mut().retain(|sector| !sectors.contains(sector));
            sectors.for_each(|sector| self.keep(sector));
        } else {
            self.unsynced.borrow_mut().extend(sectors);
        }
    }

    /// Makes one sector durable as it is.
    fn keep(&self, sector: usize) {
        copy_sector(&self.live.borrow(), &mut self.durable.borrow_mut(), sector);
    }

    fn sync(&self) {
        std::mem::take(&mut *self.unsynced.borrow_mut()).into_iter().for_each(|sector| self.keep(sector));
        let len = self.live.borrow().len();
        self.durable.borrow_mut().resize(len, 0);
    }

    fn after_power_loss(&self, rng: &mut Rng) -> Vec<u8> {
        let (live, mut left) = (self.live.borrow(), self.durable.borrow().clone());
        if rng.below(2) == 0 {
            left.resize(live.len(), 0);
        }
        for &sector in self.unsynced.borrow().union(&self.doomed.borrow()) {
            if rng.below(2) == 0 && sector * SECTOR < left.len() {
                copy_sector(&live, &mut left, sector);
            }
        }
        left
    }
}

fn copy_sector(from: &[u8], to: &mut Vec<u8>, sector: usize) {
    let start = sector * SECTOR;
    let end = (start + SECTOR).min(from.len());
    if start < end {
        if to.len() < end {
            to.resize(end, 0);
        }
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Shared {
    /// The fault that strikes this operation, if one does.
    fn step(&self, op: Op) -> io::Result<Option<Fault>> {
        if self.off.get() {
            return Err(eio());
        }
        let mut plan = self.plan.borrow_mut();
        let Some(planned) = plan.as_mut().filter(|plan| plan.ops.contains(&op)) else { return Ok(None) };
        if planned.left > 0 {
            planned.left -= 1;
            return Ok(None);
        }
        let fault = plan.take().map(|plan| plan.fault);
        self.struck.set(true);
        self.off.set(matches!(fault, Some(Fault::PowerOff)));
        Ok(fault)
    }

    /// For operations that either happen or fail.
    fn admit(&self, op: Op) -> io::Result<()> {
        match self.step(op)? {
            Some(Fault::Fail | Fault::PowerOff) => Err(eio()),
            Some(Fault::Refuse(code)) => Err(io::Error::from_raw_os_error(code)),
            _ => Ok(()),
        }
    }

    fn link(&self, path: &Path, inode: Rc<Inode>) {
        self.names.borrow_mut().insert(path.to_owned(), inode.clone());
        self.name_changes.borrow_mut().push(NameChange::Link(path.to_owned(), inode));
    }

    fn unlink(&self, path: &Path) -> io::Result<Rc<Inode>> {
        let inode = self.names.borrow_mut().remove(path).ok_or(io::ErrorKind::NotFound)?;
        self.name_changes.borrow_mut().push(NameChange::Unlink(path.to_owned()));
        Ok(inode)
    }
}

impl Disk for FaultyDisk {
    type File = FaultyFile;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<FaultyFile> {
        self.shared.admit(Op::Open)?;
        let found = self.shared.names.borrow().get(path).cloned();
        let inode = match (mode, found) {
            (OpenMode::Read | OpenMode::WriteDirect, found) => found.ok_or(io::ErrorKind::NotFound)?,
            (OpenMode::Create | OpenMode::CreateDirect, found) => {
                let inode = found.unwrap_or_default();
                inode.live.borrow_mut().clear();
                self.shared.link(path, inode.clone());
                inode
            }
        };
        let direct = matches!(mode, OpenMode::WriteDirect | OpenMode::CreateDirect);
        Ok(FaultyFile { shared: self.shared.clone(), inode, direct })
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        self.shared.admit(Op::List)?;
        let names = self.shared.names.borrow();
        let below = names.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entry = |(path, inode): (&PathBuf, &Rc<Inode>)| FileEntry {
            name: path.file_name().and_then(|name| name.to_str()).expect("a plain name").to_owned(),
            len: inode.live.borrow().len() as u64,
        };
        Ok(below.map(entry).collect())
    }

    async fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.shared.admit(Op::Rename)?;
        let inode = self.shared.unlink(from)?;
        self.shared.link(to, inode);
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.shared.admit(Op::Remove)?;
        self.shared.unlink(path).map(drop)
    }

    async fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.shared.admit(Op::SyncDir)?;
        self.shared.durable_names.borrow_mut().clone_from(&self.shared.names.borrow());
        self.shared.name_changes.borrow_mut().clear();
        Ok(())
    }

    async fn exists(&self, path: &Path) -> io::Result<bool> {
        let names = self.shared.names.borrow();
        Ok(names.keys().any(|file| file == path || file.parent() == Some(path)))
    }
}

impl FaultyFile {
    fn expect_blocks(&self, offset: u64, len: usize) {
        assert!(
            !self.direct || (offset.is_multiple_of(4096) && len.is_multiple_of(4096)),
            "direct I/O is by whole blocks"
        );
    }

    /// Each sector is durable, or seen and doomed, or never arrived.
    fn write_torn(&self, offset: usize, bytes: &[u8]) {
        let mut rng = self.shared.rng.borrow_mut();
        for (at, sector) in bytes.chunks(SECTOR).enumerate() {
            let offset = offset + at * SECTOR;
            match rng.below(3) {
                0 => self.inode.write(offset, sector, true),
                1 => {
                    self.inode.write(offset, sector, false);
                    self.inode.unsynced.borrow_mut().remove(&(offset / SECTOR));
                    self.inode.doomed.borrow_mut().insert(offset / SECTOR);
                }
                _ => {}
            }
        }
    }
}

impl DiskFile for FaultyFile {
    async fn read_at(&self, offset: u64, len: usize) -> io::Result<AlignedBuf> {
        self.expect_blocks(offset, len);
        let short = match self.shared.step(Op::Read)? {
            Some(Fault::Fail | Fault::PowerOff) => return Err(eio()),
            Some(Fault::ShortRead) => 2,
            _ => 1,
        };
        let live = self.inode.live.borrow();
        let from = (offset as usize).min(live.len());
        let to = (from + len).min(live.len());
        Ok(AlignedBuf::copy_of(&live[from..from + (to - from) / short]))
    }

    async fn write_at(&self, offset: u64, buf: AlignedBuf, durability: Durability) -> io::Result<AlignedBuf> {
        self.expect_blocks(offset, buf.len());
        let durable = durability == Durability::Durable;
        match self.shared.step(Op::Write)? {
            Some(Fault::Fail | Fault::PowerOff) => {
                self.write_torn(offset as usize, &buf);
                return Err(eio());
            }
            Some(Fault::Lose) => {}
            Some(Fault::Misdirect(name, elsewhere)) => {
                let names = self.shared.names.borrow();
                if let Some((_, victim)) = names.iter().find(|(path, _)| path.ends_with(&name)) {
                    victim.write(elsewhere as usize, &buf, durable);
                }
            }
            _ => self.inode.write(offset as usize, &buf, durable),
        }
        Ok(buf)
    }

    async fn sync(&self) -> io::Result<()> {
        if let Err(error) = self.shared.admit(Op::Sync) {
            let lost = std::mem::take(&mut *self.inode.unsynced.borrow_mut());
            self.inode.doomed.borrow_mut().extend(lost);
            return Err(error);
        }
        self.inode.sync();
        Ok(())
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(self.inode.live.borrow().len() as u64)
    }

    async fn allocate_zeroed(&self, len: u64) -> io::Result<()> {
        self.shared.admit(Op::Allocate)?;
        self.inode.live.borrow_mut().clear();
        self.inode.write(0, &vec![0; len as usize], false);
        Ok(())
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.shared.admit(Op::Write)?;
        self.inode.live.borrow_mut().resize(len as usize, 0);
        Ok(())
    }
}
