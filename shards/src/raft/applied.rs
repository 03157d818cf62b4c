//! The partition's machine in memory, how far it came, and its newest snapshot.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kahuna_machine::{Machine, Remains};
use kahuna_protocol::GroupId;
use kahuna_wal::{Disk, LogError};
use openraft::rt::{Watch, WatchSender as _};

use super::entries::cost;
use super::log_store::LogStore;
use super::snapshot::{Builder, Header, Pointer, SnapshotFault, SnapshotFile, Source, file_name, load};
use super::types::{Entry, LogId, Outcomes, Payload, Proposal, SnapshotMeta, StoredMembership};
use crate::clock::Clock;
use crate::env::local::{LocalWatch, WatchReceiver, WatchSender};
use crate::env::{Env, ExitCode};

/// No snapshot for fewer entries than this, however long they are.
const MIN_SNAPSHOT_ENTRIES: u64 = 16;

/// The machine and how far it came. Shared by openraft's worker, which alone changes it, and everybody who reads.
pub struct Applied<E: Env> {
    group: GroupId,
    log: LogStore<E>,
    disk: E::Disk,
    /// Of this group's snapshots.
    dir: PathBuf,
    clock: Rc<Clock<E>>,
    machine: RefCell<Machine>,
    last: Cell<Option<LogId>>,
    membership: RefCell<StoredMembership>,
    snapshot: RefCell<Option<Rc<SnapshotFile<E>>>>,
    /// What was applied since the last snapshot.
    since_snapshot: Cell<Backlog>,
    /// A backlog of more bytes than this asks for a snapshot.
    snapshot_log_bytes: u64,
    /// The first index that is not applied.
    next: WatchSender<u64>,
    /// Rises when a snapshot is wanted.
    wish: WatchSender<u64>,
}

#[derive(Clone, Copy, Default)]
struct Backlog {
    entries: u64,
    bytes: u64,
}

/// What an [`Applied`] begins with.
pub struct Start<E: Env> {
    /// The group.
    pub group: GroupId,
    /// Its part of the log.
    pub log: LogStore<E>,
    /// Where snapshots go.
    pub disk: E::Disk,
    /// The group's directory there; it exists.
    pub dir: PathBuf,
    /// Hears of machine time.
    pub clock: Rc<Clock<E>>,
    /// A backlog of more bytes than this asks for a snapshot.
    pub snapshot_log_bytes: u64,
}

impl<E: Env> Applied<E> {
    /// `empty`, or what the snapshot holds that `pointer` names.
    ///
    /// # Errors
    /// When that snapshot is missing, damaged, or not what the pointer says.
    pub async fn open(start: Start<E>, empty: Machine, pointer: Option<Pointer>) -> Result<Rc<Self>, SnapshotFault> {
        let Start { group, log, disk, dir, clock, snapshot_log_bytes } = start;
        let mut this = Self {
            group,
            log,
            disk,
            dir,
            clock,
            machine: RefCell::new(empty),
            last: Cell::new(None),
            membership: RefCell::default(),
            snapshot: RefCell::new(None),
            since_snapshot: Cell::default(),
            snapshot_log_bytes,
            next: LocalWatch::channel(0).0,
            wish: LocalWatch::channel(0).0,
        };
        if let Some(pointer) = pointer {
            this.restore(pointer).await?;
        }
        this.clear_dir().await?;
        Ok(Rc::new(this))
    }

    async fn restore(&mut self, pointer: Pointer) -> Result<(), SnapshotFault> {
        let path = self.dir.join(file_name(&pointer.last));
        let file = SnapshotFile::open(&self.disk, &path).await?;
        let named = (file.header.group, file.header.last, file.bytes);
        if named != (self.group.0, pointer.last, pointer.file_bytes) {
            let why = format!("is (group, last entry, length) {named:?}, but the log names {pointer:?}");
            return Err(SnapshotFault::Header { path, why });
        }
        let machine = load(&file).await?;
        self.replace(machine, &file.header);
        *self.snapshot.get_mut() = Some(Rc::new(file));
        Ok(())
    }

    /// Removes what a crash left: files that are not the current snapshot.
    async fn clear_dir(&self) -> Result<(), SnapshotFault> {
        let current = self.snapshot().map(|file| file.path.clone());
        for entry in self.disk.list(&self.dir).await.map_err(SnapshotFault::io(&self.dir))? {
            let path = self.dir.join(&entry.name);
            let ours = [".snap", ".tmp"].iter().any(|end| entry.name.ends_with(end));
            if ours && Some(&path) != current.as_ref() {
                self.disk.remove(&path).await.map_err(SnapshotFault::io(&path))?;
            }
        }
        Ok(())
    }

    /// The machine. Whoever borrows it lets go before the next await.
    pub fn machine(&self) -> &RefCell<Machine> {
        &self.machine
    }

    /// The last entry applied.
    pub fn last(&self) -> Option<LogId> {
        self.last.get()
    }

    /// The last membership applied.
    pub fn membership(&self) -> StoredMembership {
        self.membership.borrow().clone()
    }

    /// The newest durable snapshot.
    pub fn snapshot(&self) -> Option<Rc<SnapshotFile<E>>> {
        self.snapshot.borrow().clone()
    }

    /// Whether the newest snapshot says at least what one up to `last` would.
    pub fn snapshot_reaches(&self, last: &LogId) -> bool {
        self.snapshot.borrow().as_ref().is_some_and(|file| file.header.last >= *last)
    }

    /// Where snapshots go.
    pub fn disk(&self) -> &E::Disk {
        &self.disk
    }

    /// The directory of this group's snapshots.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Changes with the first index that is not applied.
    pub fn watch(&self) -> WatchReceiver<u64> {
        self.next.subscribe()
    }

    /// Changes when a snapshot is wanted. One that was wanted before counts as seen.
    pub fn wishes(&self) -> WatchReceiver<u64> {
        self.wish.subscribe()
    }

    /// Wants a snapshot.
    pub fn wish_snapshot(&self) {
        self.wish.send_if_modified(|wish| {
            *wish += 1;
            true
        });
    }

    /// Whether enough was applied since the last snapshot to want another one.
    pub fn is_snapshot_due(&self) -> bool {
        let backlog = self.since_snapshot.get();
        backlog.bytes >= self.snapshot_log_bytes && backlog.entries >= MIN_SNAPSHOT_ENTRIES
    }

    /// Gives the file at `path`, synced, its final name, and makes it the group's snapshot: durably, the pointer last.
    pub async fn adopt(&self, path: &Path, header: &Header) -> Result<(), SnapshotFault> {
        let durable = self.dir.join(file_name(&header.last));
        self.disk.rename(path, &durable).await.map_err(SnapshotFault::io(&durable))?;
        self.disk.sync_dir(&self.dir).await.map_err(SnapshotFault::io(&self.dir))?;
        let file = Rc::new(SnapshotFile::open(&self.disk, &durable).await?);
        if self.snapshot_reaches(&header.last) {
            // While this one was written, one that reaches further was installed.
            return self.disk.remove(&durable).await.map_err(SnapshotFault::io(&durable));
        }
        let pointer = Pointer { last: header.last, file_bytes: file.bytes };
        let before = self.snapshot.replace(Some(file));
        self.log.save_snapshot_pointer(pointer.encode()).await.map_err(SnapshotFault::io(&durable))?;
        if let Some(before) = before {
            self.disk.remove(&before.path).await.map_err(SnapshotFault::io(&before.path))?;
        }
        Ok(())
    }

    /// Puts `machine` in the place of what is there, and frees that behind the scenes.
    fn replace(&self, machine: Machine, header: &Header) {
        self.clock.observe(machine.time());
        let before = self.machine.replace(machine);
        self.last.set(Some(header.last));
        self.membership.replace(header.membership.clone());
        self.since_snapshot.set(Backlog::default());
        self.announce();
        E::spawn(super::snapshot::free::<E>(Remains::from(before)));
    }

    /// Tells the watchers how far it came.
    pub fn announce(&self) {
        let next = self.last.get().map_or(0, |last| last.index + 1);
        self.next.send_if_different(next);
    }

    /// Applies one entry, the next one.
    pub fn apply(&self, entry: &Entry) -> Outcomes {
        let outcomes = match &entry.payload {
            Payload::Blank => Outcomes::default(),
            Payload::Membership(membership) => {
                self.membership.replace(StoredMembership::new(Some(entry.log_id), membership.clone()));
                Outcomes::default()
            }
            Payload::Normal(Proposal(batch)) => {
                let mut machine = self.machine.borrow_mut();
                match machine.apply(batch) {
                    Ok(applied) => {
                        self.clock.observe(machine.time());
                        Outcomes(applied.outcomes)
                    }
                    Err(error) => {
                        let text = format!("group {}, entry {}: {error}", self.group, entry.log_id);
                        E::abort(ExitCode::DataDamaged, &text)
                    }
                }
            }
        };
        self.last.set(Some(entry.log_id));
        let Backlog { entries, bytes } = self.since_snapshot.get();
        self.since_snapshot.set(Backlog { entries: entries + 1, bytes: bytes + cost(entry) });
        outcomes
    }

    /// Puts a snapshot in the place of everything.
    pub async fn install(self: &Rc<Self>, meta: &SnapshotMeta, source: Source<E>) -> Result<(), SnapshotFault> {
        let Some(last) = meta.last_log_id else { return Ok(()) };
        let header = &Header { group: self.group.0, last, membership: meta.last_membership.clone() };
        match source {
            Source::Nothing => {}
            Source::Received { path, machine } => {
                self.adopt(&path, header).await?;
                self.replace(*machine, header);
            }
            Source::Stored(file) => {
                self.replace(load(&file).await?, header);
                self.freeze().finish().await?;
            }
        }
        Ok(())
    }

    /// Ends the process: without its snapshots a replica can neither shorten its log nor feed another one. Only a log that
    /// was closed under a snapshot is no fault of the disk: the node stops, and the next start removes the file.
    pub fn snapshot_failed(&self, fault: SnapshotFault) -> io::Error {
        let code = match &fault {
            SnapshotFault::Io { source, .. } if is_closed(source) => return fault.into(),
            SnapshotFault::Io { .. } => ExitCode::DiskFailed,
            SnapshotFault::Header { .. } | SnapshotFault::Block { .. } => ExitCode::DataDamaged,
        };
        E::abort(code, &format!("group {}: a snapshot failed: {fault}; mend the disk and restart", self.group))
    }

    /// A view of what is applied now, to be written.
    pub fn freeze(self: &Rc<Self>) -> Builder<E> {
        let view = self.last.get().map(|last| {
            self.since_snapshot.set(Backlog::default());
            let header = Header { group: self.group.0, last, membership: self.membership() };
            (header, self.machine.borrow().freeze())
        });
        Builder::new(self.clone(), view)
    }
}

/// Whether this says that the log was closed.
fn is_closed(error: &io::Error) -> bool {
    error.get_ref().and_then(|source| source.downcast_ref()).is_some_and(|source| matches!(source, LogError::Closed))
}
