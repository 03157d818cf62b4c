//! The newest snapshot of a group: how it is restored, replaced and asked for.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use kahuna_machine::Machine;
use kahuna_wal::{Disk, LogError, Space};
use openraft::rt::{Mutex as _, Watch, WatchSender as _};

use super::dir::SnapshotDir;
use super::fault::SnapshotFault;
use super::file::SnapshotFile;
use super::header::{Header, Pointer, file_name};
use super::read::load;
use crate::env::local::{LocalMutex, LocalWatch, WatchReceiver, WatchSender};
use crate::env::{Env, ExitCode};
use crate::raft::log_store::LogStore;
use crate::raft::types::LogId;

/// Keeps the newest snapshot of one group. It knows nothing of the machine in memory.
pub struct SnapshotKeeper<E: Env> {
    log: LogStore<E>,
    dir: SnapshotDir<E>,
    newest: RefCell<Option<Rc<SnapshotFile<E>>>>,
    /// Snapshots that were replaced, and are not removed yet because they are still read.
    replaced: RefCell<Vec<Rc<SnapshotFile<E>>>>,
    /// Held while the group's snapshot changes.
    adopting: LocalMutex<()>,
    /// Rises when a snapshot is requested.
    requested: WatchSender<u64>,
}

impl<E: Env> SnapshotKeeper<E> {
    /// A keeper without a snapshot.
    pub fn new(log: LogStore<E>, dir: SnapshotDir<E>) -> Self {
        Self {
            log,
            dir,
            newest: RefCell::new(None),
            replaced: RefCell::default(),
            adopting: LocalMutex::new(()),
            requested: LocalWatch::channel(0).0,
        }
    }

    /// Loads the snapshot that `pointer` names: its machine, and what it is of. A lost snapshot is set aside; `None` if the
    /// log still holds every entry that was in it.
    ///
    /// # Errors
    /// When the file cannot be read; if it [is lost](SnapshotFault::is_loss), then entries are lost with it.
    pub async fn restore(&self, pointer: &Pointer) -> Result<Option<(Machine, Rc<SnapshotFile<E>>)>, SnapshotFault> {
        match self.load(pointer).await {
            Ok((machine, file)) => {
                let file = Rc::new(file);
                self.newest.replace(Some(file.clone()));
                Ok(Some((machine, file)))
            }
            Err(fault) => self.set_lost_aside(pointer, fault).await.map(|()| None),
        }
    }

    async fn load(&self, pointer: &Pointer) -> Result<(Machine, SnapshotFile<E>), SnapshotFault> {
        let path = self.dir.path().join(file_name(&pointer.last));
        let file = SnapshotFile::open(self.dir.disk(), &path).await?;
        let named = (file.header.group, file.header.last, file.bytes);
        let expected = self.dir.group();
        if named != (expected, pointer.last, pointer.file_bytes) {
            let (group, last, bytes) = named;
            let why = format!(
                "{bytes} bytes, of group {group} up to {last}, but the log names one of {} bytes, of group {expected} up to {}",
                pointer.file_bytes, pointer.last
            );
            return Err(SnapshotFault::Header { path, why });
        }
        let machine = load(&file).await?;
        Ok((machine, file))
    }

    /// Sets a lost snapshot aside; an error unless the log holds all that was in it.
    async fn set_lost_aside(&self, pointer: &Pointer, fault: SnapshotFault) -> Result<(), SnapshotFault> {
        if !fault.is_loss() {
            return Err(fault);
        }
        self.dir.set_aside(&self.dir.path().join(file_name(&pointer.last))).await?;
        let whole = self.log.with_entries(|entries| {
            let last = entries.get(pointer.last.index).map(|entry| entry.log_id);
            entries.purged().is_none() && entries.first_index() == 0 && last == Some(pointer.last)
        });
        if !whole {
            return Err(fault);
        }
        crate::say!(
            "group {}: its snapshot is damaged ({fault}); the whole log is there and is applied again",
            self.dir.group()
        );
        Ok(())
    }

    /// Removes what a crash left in the directory.
    ///
    /// # Errors
    /// When the directory cannot be read or changed.
    pub async fn clear_dir(&self) -> Result<(), SnapshotFault> {
        let newest = self.newest();
        self.dir.clear(newest.as_ref().map(|file| file.path.as_path())).await
    }

    /// The directory of the group's snapshots.
    pub fn dir(&self) -> &SnapshotDir<E> {
        &self.dir
    }

    /// The newest durable snapshot.
    pub fn newest(&self) -> Option<Rc<SnapshotFile<E>>> {
        self.newest.borrow().clone()
    }

    /// The length of the newest snapshot in bytes; 0 if there is none.
    pub fn newest_bytes(&self) -> u64 {
        self.newest.borrow().as_ref().map_or(0, |file| file.bytes)
    }

    /// Whether the newest snapshot holds at least the entries up to `last`. A damaged one holds none.
    pub fn reaches(&self, last: &LogId) -> bool {
        self.newest.borrow().as_ref().is_some_and(|file| !file.damaged.get() && file.header.last >= *last)
    }

    /// Whether the group's log gets all the room that it asks for.
    pub fn has_log_room(&self) -> bool {
        self.log.space() == Space::Plenty
    }

    /// Whether the newest snapshot was found to be damaged.
    pub fn is_damaged(&self) -> bool {
        self.newest.borrow().as_ref().is_some_and(|file| file.damaged.get())
    }

    /// Reports that `file`, a snapshot of this group, cannot be read: a fresh one is requested from the machine, which holds
    /// all of it.
    pub fn report_damage(&self, file: &SnapshotFile<E>, fault: &SnapshotFault) {
        if fault.is_loss() && !file.damaged.replace(true) {
            crate::say!("group {}: its snapshot is damaged ({fault}); a fresh one is taken", self.dir.group());
            self.request();
        }
    }

    /// Changes when a snapshot is requested. A request of before counts as seen.
    pub fn requests(&self) -> WatchReceiver<u64> {
        self.requested.subscribe()
    }

    /// Requests a snapshot.
    pub fn request(&self) {
        self.requested.send_if_modified(|requests| {
            *requests += 1;
            true
        });
    }

    /// Requests a snapshot after a pause, in the place of one that found no room.
    pub fn request_later(self: &Rc<Self>, fault: &SnapshotFault) {
        let pause = self.dir.found_no_room(fault);
        let keeper = Rc::downgrade(self);
        E::spawn(async move {
            E::sleep(pause).await;
            if let Some(keeper) = keeper.upgrade() {
                keeper.request();
            }
        });
    }

    /// Gives the file at `path`, synced, its final name, and makes it the group's snapshot: durably, the pointer last. Only
    /// then does the one before it go. A file that holds no more than the group's snapshot is removed.
    ///
    /// # Errors
    /// `NoRoom` when nothing was changed; `Io`.
    pub async fn adopt(&self, path: &Path, header: &Header) -> Result<(), SnapshotFault> {
        let _turn = self.adopting.lock().await;
        let (dir, disk) = (&self.dir, self.dir.disk());
        if self.reaches(&header.last) {
            return disk.remove(path).await.map_err(SnapshotFault::failed(path));
        }
        let before = self.newest();
        let durable = dir.path().join(file_name(&header.last));
        if let Some(before) = &before
            && before.damaged.get()
        {
            dir.set_aside(&before.path).await?;
        }
        // Opened before anything changes: there may be no descriptor for it.
        let opened = SnapshotFile::open(disk, path).await?;
        disk.rename(path, &durable).await.map_err(SnapshotFault::io(&durable))?;
        dir.sync_names().await?;
        let file = Rc::new(SnapshotFile { path: durable.clone(), ..opened });
        let pointer = Pointer { last: header.last, file_bytes: file.bytes };
        self.log.save_snapshot_pointer(pointer.encode()).await.map_err(SnapshotFault::failed(&durable))?;
        self.newest.replace(Some(file));
        if let Some(before) = before
            && !before.damaged.get()
        {
            self.replaced.borrow_mut().push(before);
        }
        self.remove_replaced().await?;
        dir.found_room();
        Ok(())
    }

    /// Removes the replaced snapshots that are no longer read: the disk's handles close, and their blocks are
    /// given back, without holding up the shard.
    async fn remove_replaced(&self) -> Result<(), SnapshotFault> {
        let unread = |file: &mut Rc<SnapshotFile<E>>| Rc::strong_count(file) == 1;
        let files: Vec<_> = self.replaced.borrow_mut().extract_if(.., unread).collect();
        for file in files {
            let path = file.path.clone();
            drop(file);
            self.dir.disk().remove(&path).await.map_err(SnapshotFault::failed(&path))?;
        }
        Ok(())
    }

    /// Ends the process: without its snapshots a replica can neither shorten its log nor feed another one. Only a log that
    /// was closed under a snapshot is no fault of the disk: the node stops, and the next start removes the file.
    pub fn abort_unless_closed(&self, fault: SnapshotFault) -> io::Error {
        let code = match &fault {
            SnapshotFault::Io { source, .. } if is_closed(source) => return fault.into(),
            SnapshotFault::Io { .. } | SnapshotFault::NoRoom { .. } => ExitCode::DiskFailed,
            SnapshotFault::Header { .. } | SnapshotFault::Newer { .. } | SnapshotFault::Block { .. } => {
                ExitCode::DataDamaged
            }
        };
        E::abort(code, &format!("group {}: a snapshot failed: {fault}; mend the disk and restart", self.dir.group()))
    }
}

/// Whether the log was closed.
fn is_closed(error: &io::Error) -> bool {
    error.get_ref().and_then(|source| source.downcast_ref()).is_some_and(|source| matches!(source, LogError::Closed))
}
