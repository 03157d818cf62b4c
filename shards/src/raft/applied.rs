//! The partition's machine in memory, and the last entry applied to it.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use kahuna_machine::{Effects, Interest, Machine, Remains};
use kahuna_protocol::GroupId;
use openraft::rt::{Watch, WatchSender as _};

use super::entries::cost;
use super::log_store::LogStore;
use super::snapshot::{Builder, Header, Pointer, SnapshotDir, SnapshotFault, SnapshotKeeper, Source, free, load};
use super::types::{Entry, LogId, Outcomes, Payload, Proposal, SnapshotMeta, StoredMembership};
use crate::clock::Clock;
use crate::env::local::{LocalWatch, WatchReceiver, WatchSender};
use crate::env::{Env, ExitCode};

/// No snapshot for fewer entries than this, however long they are.
const MIN_SNAPSHOT_ENTRIES: u64 = 16;

/// The machine and the last entry applied to it. Only openraft's worker changes them; every task of the shard may read them.
pub struct AppliedState<E: Env> {
    group: GroupId,
    clock: Rc<Clock<E>>,
    machine: RefCell<Machine>,
    last: Cell<Option<LogId>>,
    membership: RefCell<StoredMembership>,
    /// What was applied since the last snapshot.
    since_snapshot: Cell<Backlog>,
    /// A backlog of more bytes than this makes a snapshot due.
    snapshot_log_bytes: u64,
    /// The first index that is not applied.
    next: WatchSender<u64>,
    snapshots: Rc<SnapshotKeeper<E>>,
    listening: RefCell<Option<Listening>>,
}

/// The listener to what entries bring about.
#[derive(Clone)]
struct Listening {
    interest: Interest,
    listener: Rc<dyn Fn(Effects)>,
}

#[derive(Clone, Copy, Default)]
struct Backlog {
    entries: u64,
    bytes: u64,
}

/// Arguments of [`AppliedState::open`].
pub struct AppliedContext<E: Env> {
    /// Group that the machine belongs to.
    pub group: GroupId,
    /// Its part of the log.
    pub log: LogStore<E>,
    /// The disk for snapshots.
    pub disk: E::Disk,
    /// The group's directory there; it exists.
    pub dir: PathBuf,
    /// Advanced to machine time on apply.
    pub clock: Rc<Clock<E>>,
    /// A backlog of more bytes than this makes a snapshot due.
    pub snapshot_log_bytes: u64,
}

impl<E: Env> AppliedState<E> {
    /// `empty`, or the content of the snapshot that `pointer` names.
    ///
    /// A snapshot that is lost is set aside. Nothing is lost with it where the log still reaches back to the first entry:
    /// then the machine begins `empty` and applies the log again.
    ///
    /// # Errors
    /// When that snapshot cannot be read; if it [is lost](SnapshotFault::is_loss), then entries are lost with it that this
    /// replica may have acknowledged, and it must not be opened again.
    pub async fn open(
        cx: AppliedContext<E>,
        empty: Machine,
        pointer: Option<Pointer>,
    ) -> Result<Rc<Self>, SnapshotFault> {
        let AppliedContext { group, log, disk, dir, clock, snapshot_log_bytes } = cx;
        let this = Self {
            group,
            clock,
            machine: RefCell::new(empty),
            last: Cell::new(None),
            membership: RefCell::default(),
            since_snapshot: Cell::default(),
            snapshot_log_bytes,
            next: LocalWatch::channel(0).0,
            snapshots: Rc::new(SnapshotKeeper::new(log, SnapshotDir::new(group, disk, dir))),
            listening: RefCell::default(),
        };
        if let Some(pointer) = pointer
            && let Some((machine, file)) = this.snapshots.restore(&pointer).await?
        {
            this.replace(machine, &file.header);
        }
        this.snapshots.clear_dir().await?;
        Ok(Rc::new(this))
    }

    /// The machine. A borrow must end before the next await.
    pub fn machine(&self) -> &RefCell<Machine> {
        &self.machine
    }

    /// Calls `listener` from now on with the effects of each entry that `interest` names, once the entry is applied. The
    /// listener runs within the apply and must only store what it gets. A snapshot that replaces entries reports none of
    /// their effects.
    pub fn listen(&self, interest: Interest, listener: Rc<dyn Fn(Effects)>) {
        self.machine.borrow_mut().set_interest(interest);
        let before = self.listening.replace(Some(Listening { interest, listener }));
        drop(before);
    }

    /// The last entry applied.
    pub fn last(&self) -> Option<LogId> {
        self.last.get()
    }

    /// The last membership applied.
    pub fn membership(&self) -> StoredMembership {
        self.membership.borrow().clone()
    }

    /// Snapshots of this group: the newest one, and those that are written or sent.
    pub fn snapshots(&self) -> &Rc<SnapshotKeeper<E>> {
        &self.snapshots
    }

    /// Changes with the first index that is not applied.
    pub fn watch(&self) -> WatchReceiver<u64> {
        self.next.subscribe()
    }

    /// Whether enough was applied since the last snapshot for another one: as much as that snapshot is long. A restart then
    /// replays no more than it loads, and snapshots write no more than the log does.
    pub fn is_snapshot_due(&self) -> bool {
        let backlog = self.since_snapshot.get();
        let last = self.snapshots.newest_bytes();
        backlog.bytes >= self.snapshot_log_bytes.max(last) && backlog.entries >= MIN_SNAPSHOT_ENTRIES
    }

    /// Writes a snapshot of what is applied now in the place of a damaged one; later, if there is no room.
    ///
    /// # Errors
    /// Once the log is closed. A disk that fails ends the process.
    pub async fn renew_snapshot(&self) -> io::Result<()> {
        if self.snapshots.dir().is_short_of_room() {
            return Ok(());
        }
        match self.freeze().finish().await {
            Err(fault @ SnapshotFault::NoRoom { .. }) => {
                self.snapshots.request_later(&fault);
                Ok(())
            }
            done => done.map_err(|fault| self.snapshots.abort_unless_closed(fault)),
        }
    }

    /// Puts `machine` in the place of the present one, and frees that behind the scenes.
    fn replace(&self, mut machine: Machine, header: &Header) {
        machine.set_interest(self.listening.borrow().as_ref().map_or_else(Interest::default, |to| to.interest));
        self.clock.observe_machine(machine.time());
        let before = self.machine.replace(machine);
        self.last.set(Some(header.last));
        self.membership.replace(header.membership.clone());
        self.since_snapshot.set(Backlog::default());
        self.announce();
        E::spawn(free::<E>(Remains::from(before)));
    }

    /// Announces the last entry applied to the watchers.
    pub fn announce(&self) {
        let next = self.last.get().map_or(0, |last| last.index + 1);
        self.next.send_if_different(next);
    }

    /// Applies one entry, the next one.
    pub fn apply(&self, entry: &Entry) -> Outcomes {
        let mut effects = Effects::default();
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
                        effects = applied.effects;
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
        if !effects.is_empty() {
            let listening = self.listening.borrow().clone();
            if let Some(Listening { listener, .. }) = listening {
                listener(effects);
            }
        }
        outcomes
    }

    /// Puts a snapshot in the place of everything. While the disk has no room for its name it waits: to openraft an error
    /// would be final, and the replica has nothing to go on with.
    ///
    /// # Errors
    /// Any but `NoRoom`.
    pub async fn install(&self, meta: &SnapshotMeta, source: Source<E>) -> Result<(), SnapshotFault> {
        let Some(last) = meta.last_log_id else { return Ok(()) };
        let header = &Header { group: self.group, last, membership: meta.last_membership.clone() };
        let dir = self.snapshots.dir();
        match source {
            Source::Nothing => {}
            Source::Received { path, machine } => {
                dir.retry_until_room(async || self.snapshots.adopt(&path, header).await).await?;
                self.replace(*machine, header);
            }
            Source::Stored { file, .. } => {
                self.replace(load(&file).await?, header);
                dir.retry_until_room(async || self.freeze().finish().await).await?;
            }
        }
        Ok(())
    }

    /// A view of what is applied now, to be written.
    pub fn freeze(&self) -> Builder<E> {
        let view = self.last.get().map(|last| {
            self.since_snapshot.set(Backlog::default());
            let header = Header { group: self.group, last, membership: self.membership() };
            (header, self.machine.borrow().freeze())
        });
        Builder::new(self.snapshots.clone(), view)
    }
}
