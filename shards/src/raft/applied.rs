//! The partition's machine in memory, how far it came, and its newest snapshot.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use kahuna_machine::{Machine, Remains};
use kahuna_protocol::GroupId;
use kahuna_wal::{Disk, LogError, cannot_open};
use openraft::rt::{Mutex as _, Watch, WatchSender as _};

use super::entries::cost;
use super::log_store::LogStore;
use super::snapshot::{
    Builder, Header, Pointer, Shortage, SnapshotFault, SnapshotFile, Source, file_name, is_own_name, load,
};
use super::types::{Entry, LogId, Outcomes, Payload, Proposal, SnapshotMeta, StoredMembership};
use crate::clock::Clock;
use crate::env::local::{LocalMutex, LocalWatch, WatchReceiver, WatchSender};
use crate::env::{Env, ExitCode};

/// No snapshot for fewer entries than this, however long they are.
const MIN_SNAPSHOT_ENTRIES: u64 = 16;

/// What the name of a file ends with that was set aside.
const DAMAGED: &str = ".damaged";

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
    /// Snapshots that were replaced, and not yet removed because somebody still reads them.
    replaced: RefCell<Vec<Rc<SnapshotFile<E>>>>,
    /// Held while the group's snapshot changes.
    adopting: LocalMutex<()>,
    /// What was applied since the last snapshot.
    since_snapshot: Cell<Backlog>,
    /// A backlog of more bytes than this asks for a snapshot.
    snapshot_log_bytes: u64,
    /// The first index that is not applied.
    next: WatchSender<u64>,
    /// Rises when a snapshot is wanted.
    wish: WatchSender<u64>,
    /// The disk had no room for the last snapshot.
    shortage: Shortage,
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
    /// A snapshot that is lost is set aside. Nothing is lost with it where the log still reaches back to the first entry:
    /// then the machine begins `empty` and applies the log again.
    ///
    /// # Errors
    /// When that snapshot cannot be read; if it [is lost](SnapshotFault::is_loss), then entries are lost with it that this
    /// replica may have acknowledged, and it must not be opened again.
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
            replaced: RefCell::default(),
            adopting: LocalMutex::new(()),
            since_snapshot: Cell::default(),
            snapshot_log_bytes,
            next: LocalWatch::channel(0).0,
            wish: LocalWatch::channel(0).0,
            shortage: Shortage::default(),
        };
        if let Some(pointer) = pointer
            && let Err(fault) = this.restore(pointer).await
        {
            this.give_up(&pointer, fault).await?;
        }
        this.clear_dir().await?;
        Ok(Rc::new(this))
    }

    async fn restore(&mut self, pointer: Pointer) -> Result<(), SnapshotFault> {
        let path = self.dir.join(file_name(&pointer.last));
        let file = SnapshotFile::open(&self.disk, &path).await?;
        let named = (file.header.group, file.header.last, file.bytes);
        if named != (self.group.0, pointer.last, pointer.file_bytes) {
            let (group, last, bytes) = named;
            let why = format!(
                "{bytes} bytes, of group {group} up to {last}, but the log names one of {} bytes, of group {} up to {}",
                pointer.file_bytes, self.group, pointer.last
            );
            return Err(SnapshotFault::Header { path, why });
        }
        let machine = load(&file).await?;
        self.replace(machine, &file.header);
        *self.snapshot.get_mut() = Some(Rc::new(file));
        Ok(())
    }

    /// Sets a lost snapshot aside; an error unless the log holds all that was in it.
    async fn give_up(&self, pointer: &Pointer, fault: SnapshotFault) -> Result<(), SnapshotFault> {
        if !fault.is_loss() {
            return Err(fault);
        }
        self.set_aside(&self.dir.join(file_name(&pointer.last))).await?;
        let whole = self.log.with_entries(|entries| {
            let last = entries.get(pointer.last.index).map(|entry| entry.log_id);
            entries.purged().is_none() && entries.first_index() == 0 && last == Some(pointer.last)
        });
        if !whole {
            return Err(fault);
        }
        crate::say!(
            "group {}: its snapshot is damaged ({fault}); the whole log is there and is applied again",
            self.group
        );
        Ok(())
    }

    /// Keeps a damaged file for the operator, under another name.
    async fn set_aside(&self, path: &Path) -> Result<(), SnapshotFault> {
        let kept = damaged_name(path);
        match self.disk.rename(path, &kept).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SnapshotFault::io(path)(error)),
            _ => self.disk.sync_dir(&self.dir).await.map_err(SnapshotFault::io(&self.dir)),
        }
    }

    /// Removes what a crash left: files that are not the current snapshot.
    async fn clear_dir(&self) -> Result<(), SnapshotFault> {
        let current = self.snapshot().map(|file| file.path.clone());
        let entries =
            self.insist(async || self.disk.list(&self.dir).await.map_err(SnapshotFault::io(&self.dir))).await?;
        for entry in entries {
            let path = self.dir.join(&entry.name);
            if !is_own_name(&entry.name) && !entry.name.ends_with(DAMAGED) {
                crate::say!("group {}: {} is no snapshot of this node's; it is left alone", self.group, path.display());
            } else if is_own_name(&entry.name) && Some(&path) != current.as_ref() {
                match self.disk.remove(&path).await {
                    // Somebody was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed.map_err(SnapshotFault::io(&path))?,
                }
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

    /// Whether the newest snapshot says at least what one up to `last` would. One that is damaged says nothing.
    pub fn snapshot_reaches(&self, last: &LogId) -> bool {
        self.snapshot.borrow().as_ref().is_some_and(|file| !file.damaged.get() && file.header.last >= *last)
    }

    /// Whether the newest snapshot was found to be damaged.
    pub fn is_snapshot_damaged(&self) -> bool {
        self.snapshot.borrow().as_ref().is_some_and(|file| file.damaged.get())
    }

    /// Hears that `file`, a snapshot of this group, cannot be read: a fresh one is wanted from the machine, which holds all
    /// of it.
    pub fn report_damage(&self, file: &SnapshotFile<E>, fault: &SnapshotFault) {
        if fault.is_loss() && !file.damaged.replace(true) {
            crate::say!("group {}: its snapshot is damaged ({fault}); a fresh one is taken", self.group);
            self.wish_snapshot();
        }
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

    /// Whether enough was applied since the last snapshot to want another one: as much as that snapshot is long. A
    /// restart then replays no more than it loads, and snapshots write no more than the log does.
    pub fn is_snapshot_due(&self) -> bool {
        let backlog = self.since_snapshot.get();
        let last = self.snapshot.borrow().as_ref().map_or(0, |file| file.bytes);
        backlog.bytes >= self.snapshot_log_bytes.max(last) && backlog.entries >= MIN_SNAPSHOT_ENTRIES
    }

    /// Gives the file at `path`, synced, its final name, and makes it the group's snapshot: durably, the pointer last. Only
    /// then does the one before it go. A file that says no more than the group's snapshot is removed.
    ///
    /// # Errors
    /// `NoRoom` when nothing was changed; `Io`.
    pub async fn adopt(&self, path: &Path, header: &Header) -> Result<(), SnapshotFault> {
        let _turn = self.adopting.lock().await;
        if self.snapshot_reaches(&header.last) {
            return self.disk.remove(path).await.map_err(SnapshotFault::failed(path));
        }
        let before = self.snapshot();
        let durable = self.dir.join(file_name(&header.last));
        if let Some(before) = &before
            && before.damaged.get()
        {
            self.set_aside(&before.path).await?;
        }
        // Opened before anything changes: there may be no descriptor for it.
        let opened = SnapshotFile::open(&self.disk, path).await?;
        self.disk.rename(path, &durable).await.map_err(SnapshotFault::io(&durable))?;
        self.sync_names().await?;
        let file = Rc::new(SnapshotFile { path: durable.clone(), ..opened });
        let pointer = Pointer { last: header.last, file_bytes: file.bytes };
        self.log.save_snapshot_pointer(pointer.encode()).await.map_err(SnapshotFault::failed(&durable))?;
        self.snapshot.replace(Some(file));
        if let Some(before) = before
            && !before.damaged.get()
        {
            self.replaced.borrow_mut().push(before);
        }
        self.remove_replaced().await?;
        if self.shortage.end() {
            crate::say!("group {}: there is room for snapshots again", self.group);
        }
        Ok(())
    }

    /// Makes the names in the group's directory durable, as soon as it may be opened.
    async fn sync_names(&self) -> Result<(), SnapshotFault> {
        let attempt = async || match self.disk.sync_dir(&self.dir).await {
            Err(error) if cannot_open(&error) => Err(SnapshotFault::io(&self.dir)(error)),
            done => done.map_err(SnapshotFault::failed(&self.dir)),
        };
        self.insist(attempt).await
    }

    /// Removes the snapshots that were replaced, if nobody reads them any more: the disk's handles close, and their blocks are
    /// given back, without holding up the shard.
    async fn remove_replaced(&self) -> Result<(), SnapshotFault> {
        let unread = |file: &mut Rc<SnapshotFile<E>>| Rc::strong_count(file) == 1;
        let files: Vec<_> = self.replaced.borrow_mut().extract_if(.., unread).collect();
        for file in files {
            let path = file.path.clone();
            drop(file);
            self.disk.remove(&path).await.map_err(SnapshotFault::failed(&path))?;
        }
        Ok(())
    }

    /// Writes a snapshot of what is applied now in the place of a damaged one; later, if there is no room.
    ///
    /// # Errors
    /// Once the log is closed. A disk that fails ends the process.
    pub async fn renew_snapshot(self: &Rc<Self>) -> io::Result<()> {
        if self.is_short_of_room() {
            return Ok(());
        }
        match self.freeze().finish().await {
            Err(fault @ SnapshotFault::NoRoom { .. }) => {
                self.try_later(&fault);
                Ok(())
            }
            done => done.map_err(|fault| self.snapshot_failed(fault)),
        }
    }

    /// Removes a file that came to nothing; what cannot be removed now is removed when the group is opened next.
    pub async fn discard(&self, path: &Path) {
        let _ = self.disk.remove(path).await;
    }

    /// Whether a snapshot found no room a moment ago, so that another one would find none either.
    pub fn is_short_of_room(&self) -> bool {
        self.shortage.holds(E::boot_clock())
    }

    /// A snapshot found no room: the pause before another one.
    pub fn found_no_room(&self, fault: &SnapshotFault) -> Duration {
        let (pause, first) = self.shortage.begin(E::boot_clock());
        if first {
            crate::say!(
                "group {}: no room for a snapshot: {fault}; what was written of it is removed, and it is tried again: free \
                 as much as the group's data takes",
                self.group
            );
        }
        pause
    }

    /// A snapshot that was wanted found no room: it is wanted again after a pause.
    pub fn try_later(self: &Rc<Self>, fault: &SnapshotFault) {
        let pause = self.found_no_room(fault);
        let applied = Rc::downgrade(self);
        E::spawn(async move {
            E::sleep(pause).await;
            if let Some(applied) = applied.upgrade() {
                applied.wish_snapshot();
            }
        });
    }

    /// Puts `machine` in the place of what is there, and frees that behind the scenes.
    fn replace(&self, machine: Machine, header: &Header) {
        self.clock.observe_machine(machine.time());
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
                        self.clock.observe_machine(machine.time());
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

    /// Puts a snapshot in the place of everything. While the disk has no room for its name it waits: to openraft an error
    /// would be final, and the replica has nothing to go on with.
    ///
    /// # Errors
    /// Any but `NoRoom`.
    pub async fn install(self: &Rc<Self>, meta: &SnapshotMeta, source: Source<E>) -> Result<(), SnapshotFault> {
        let Some(last) = meta.last_log_id else { return Ok(()) };
        let header = &Header { group: self.group.0, last, membership: meta.last_membership.clone() };
        match source {
            Source::Nothing => {}
            Source::Received { path, machine } => {
                self.insist(async || self.adopt(&path, header).await).await?;
                self.replace(*machine, header);
            }
            Source::Stored { file, .. } => {
                self.replace(load(&file).await?, header);
                self.insist(async || self.freeze().finish().await).await?;
            }
        }
        Ok(())
    }

    /// Repeats `attempt` until it finds room.
    async fn insist<T>(&self, attempt: impl AsyncFn() -> Result<T, SnapshotFault>) -> Result<T, SnapshotFault> {
        loop {
            match attempt().await {
                Err(fault @ SnapshotFault::NoRoom { .. }) => E::sleep(self.found_no_room(&fault)).await,
                done => return done,
            }
        }
    }

    /// Ends the process: without its snapshots a replica can neither shorten its log nor feed another one. Only a log that
    /// was closed under a snapshot is no fault of the disk: the node stops, and the next start removes the file.
    pub fn snapshot_failed(&self, fault: SnapshotFault) -> io::Error {
        let code = match &fault {
            SnapshotFault::Io { source, .. } if is_closed(source) => return fault.into(),
            SnapshotFault::Io { .. } | SnapshotFault::NoRoom { .. } => ExitCode::DiskFailed,
            SnapshotFault::Header { .. } | SnapshotFault::Newer { .. } | SnapshotFault::Block { .. } => {
                ExitCode::DataDamaged
            }
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

/// Where a damaged file is kept.
pub fn damaged_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(DAMAGED);
    name.into()
}

/// Whether this says that the log was closed.
fn is_closed(error: &io::Error) -> bool {
    error.get_ref().and_then(|source| source.downcast_ref()).is_some_and(|source| matches!(source, LogError::Closed))
}
