//! The state of a disk, and the faults it can be told to have.

use std::{cell::RefCell, collections::BTreeMap, io, path::Path, rc::Rc};

use super::{inode::Inode, names::Names};
use crate::exec::SimRng;

/// Kinds of operations, to be counted and to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskOp {
    /// Opening or creating a file.
    Open,
    /// Reading.
    Read,
    /// Writing, durable or not, and filling with zeros.
    Write,
    /// Making a file or a directory durable.
    Sync,
    /// Making directories that are not there.
    MakeDir,
    /// Everything else about names and lengths.
    Meta,
}

/// How a disk behaves.
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// What its delays and its losses are drawn from.
    pub seed: u64,
    /// The least and the most an operation takes, in nanoseconds of virtual time. Both 0: nothing takes time, and the disk
    /// works outside of a world too.
    pub latency_nanos: (u64, u64),
    /// Room for the contents of files in bytes; more fails with `StorageFull`.
    pub capacity: u64,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { seed: 0, latency_nanos: (20_000, 200_000), capacity: u64::MAX }
    }
}

/// What a disk has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskStats {
    /// Durable writes, and syncs of files and directories.
    pub flushes: u64,
    /// Bytes written.
    pub written: u64,
}

#[derive(Debug)]
struct DiskFault {
    op: DiskOp,
    /// Operations of this kind that still succeed.
    after: u64,
    kind: io::ErrorKind,
}

/// A file, shared by the disk and its open handles.
pub(super) type SharedInode = Rc<RefCell<Inode>>;

/// Everything there is on one disk.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) names: Names,
    pub(super) stats: DiskStats,
    inodes: BTreeMap<u64, SharedInode>,
    next_inode: u64,
    /// Files that were left when those without names and handles were last freed.
    kept: usize,
    faults: Vec<DiskFault>,
    capacity: u64,
    pub(super) rng: SimRng,
}

impl Image {
    pub(super) fn new(options: &DiskOptions, rng: SimRng) -> Self {
        Self {
            names: Names::default(),
            stats: DiskStats::default(),
            inodes: BTreeMap::new(),
            next_inode: 1,
            kept: 0,
            faults: Vec::new(),
            capacity: options.capacity,
            rng,
        }
    }

    /// Fails if the operation is one that was chosen to fail.
    pub(super) fn admit(&mut self, op: DiskOp) -> io::Result<()> {
        let mut failed = None;
        for fault in self.faults.iter_mut().filter(|fault| fault.op == op) {
            match fault.after.checked_sub(1) {
                Some(left) => fault.after = left,
                None => failed = Some(fault.kind),
            }
        }
        failed.map_or(Ok(()), |kind| Err(io::Error::new(kind, "an injected fault")))
    }

    pub(super) fn fail(&mut self, op: DiskOp, after: u64, kind: io::ErrorKind) {
        self.faults.push(DiskFault { op, after, kind });
    }

    pub(super) fn mend(&mut self) {
        self.faults.clear();
    }

    /// A new, empty file without a name.
    pub(super) fn create(&mut self) -> u64 {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, SharedInode::default());
        inode
    }

    /// The file of that name.
    pub(super) fn file(&self, path: &Path) -> io::Result<SharedInode> {
        Ok(self.numbered(self.names.file(path)?))
    }

    /// The file of that number.
    pub(super) fn numbered(&self, inode: u64) -> SharedInode {
        self.inodes.get(&inode).expect("a file that has a name is there").clone()
    }

    /// Bytes that files other than `except` take: those with a name, or with a handle that is open.
    fn used(&self, except: Option<&SharedInode>) -> u64 {
        let named = self.names.in_use();
        let kept = |number, file| named.contains(number) || Rc::strong_count(file) > 1;
        let counted = self
            .inodes
            .iter()
            .filter(|(number, file)| except.is_none_or(|except| !Rc::ptr_eq(file, except)) && kept(number, file));
        counted.map(|(_, file)| file.borrow().live().len() as u64).sum()
    }

    /// Leaves room for so many bytes more than there are.
    pub(super) fn leave_room(&mut self, bytes: u64) {
        self.capacity = self.used(None).saturating_add(bytes);
    }

    /// Fails if `file` may not become `len` bytes long.
    pub(super) fn expect_room(&self, file: &SharedInode, len: usize) -> io::Result<()> {
        if self.capacity == u64::MAX || len <= file.borrow().live().len() {
            return Ok(());
        }
        let used = self.used(Some(file)).saturating_add(len as u64);
        if used > self.capacity { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// Makes the names right below `dir` durable; frees the files that lost their last name and handle, now and then.
    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.names.sync(dir)?;
        if self.inodes.len() > 2 * self.kept {
            let in_use = self.names.in_use();
            self.inodes.retain(|inode, file| in_use.contains(inode) || Rc::strong_count(file) > 1);
            self.kept = self.inodes.len();
        }
        Ok(())
    }

    /// Power is lost. A handle that is still open leads nowhere afterwards.
    pub(super) fn crash(&mut self) {
        self.names.crash();
        let in_use = self.names.in_use();
        self.inodes.retain(|inode, _| in_use.contains(inode));
        for inode in self.inodes.values() {
            inode.borrow_mut().crash(&self.rng);
        }
    }
}
