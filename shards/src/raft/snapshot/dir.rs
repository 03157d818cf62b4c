//! The directory of a group's snapshots: its names, and what is done about a disk without room.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kahuna_protocol::GroupId;
use kahuna_wal::{Disk, cannot_open};

use super::fault::SnapshotFault;
use super::header::is_own_name;
use super::shortage::Shortage;
use crate::env::Env;

/// The ending of the name of a file that was set aside.
const DAMAGED: &str = ".damaged";

/// The directory of one group's snapshots.
pub struct SnapshotDir<E: Env> {
    group: GroupId,
    disk: E::Disk,
    path: PathBuf,
    /// The disk had no room for the last snapshot.
    shortage: Shortage,
}

impl<E: Env> SnapshotDir<E> {
    /// The directory `path` of `group`, which exists.
    pub fn new(group: GroupId, disk: E::Disk, path: PathBuf) -> Self {
        Self { group, disk, path, shortage: Shortage::default() }
    }

    /// Group whose snapshots stand here.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The disk that it is on.
    pub fn disk(&self) -> &E::Disk {
        &self.disk
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a damaged file for the operator, under another name.
    pub async fn set_aside(&self, path: &Path) -> Result<(), SnapshotFault> {
        let kept = damaged_name(path);
        match self.disk.rename(path, &kept).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SnapshotFault::io(path)(error)),
            _ => self.disk.sync_dir(&self.path).await.map_err(SnapshotFault::io(&self.path)),
        }
    }

    /// Removes what a crash left: snapshots other than `current`.
    pub async fn clear(&self, current: Option<&Path>) -> Result<(), SnapshotFault> {
        let list = async || self.disk.list(&self.path).await.map_err(SnapshotFault::io(&self.path));
        let entries = self.retry_until_room(list).await?;
        for entry in entries {
            let path = self.path.join(&entry.name);
            if !is_own_name(&entry.name) && !entry.name.ends_with(DAMAGED) {
                crate::say!("group {}: {} is no snapshot of this node's; it is left alone", self.group, path.display());
            } else if is_own_name(&entry.name) && Some(path.as_path()) != current {
                match self.disk.remove(&path).await {
                    // The file is gone already.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed.map_err(SnapshotFault::io(&path))?,
                }
            }
        }
        Ok(())
    }

    /// Makes the names in the directory durable, as soon as it may be opened.
    pub async fn sync_names(&self) -> Result<(), SnapshotFault> {
        let attempt = async || match self.disk.sync_dir(&self.path).await {
            Err(error) if cannot_open(&error) => Err(SnapshotFault::io(&self.path)(error)),
            done => done.map_err(SnapshotFault::failed(&self.path)),
        };
        self.retry_until_room(attempt).await
    }

    /// Removes the unfinished file `path`. A file that cannot be removed now is removed when the group is opened next.
    pub async fn discard(&self, path: &Path) {
        let _ = self.disk.remove(path).await;
    }

    /// Whether a snapshot found no room a moment ago, so that another one would find none either.
    pub fn is_short_of_room(&self) -> bool {
        self.shortage.holds(E::boot_clock())
    }

    /// Counts a snapshot that found no room; returns the pause before another one.
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

    /// Counts a snapshot that found room.
    pub fn found_room(&self) {
        if self.shortage.end() {
            crate::say!("group {}: there is room for snapshots again", self.group);
        }
    }

    /// Repeats `attempt` until it finds room.
    pub async fn retry_until_room<T>(
        &self,
        attempt: impl AsyncFn() -> Result<T, SnapshotFault>,
    ) -> Result<T, SnapshotFault> {
        loop {
            match attempt().await {
                Err(fault @ SnapshotFault::NoRoom { .. }) => E::sleep(self.found_no_room(&fault)).await,
                done => return done,
            }
        }
    }
}

/// Where a damaged file is kept.
pub fn damaged_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(DAMAGED);
    name.into()
}
