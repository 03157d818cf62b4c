//! What travels through openraft under the name of a snapshot.

use std::path::PathBuf;
use std::rc::Rc;

use kahuna_machine::Machine;

use super::file::SnapshotFile;
use super::keeper::SnapshotKeeper;
use crate::env::Env;
use crate::raft::types::Types;

/// openraft's snapshot: meta data and content.
pub type Snapshot<E> = openraft::alias::SnapshotOf<Types<E>, SnapshotData<E>>;

/// What openraft passes around as a snapshot's content.
pub struct SnapshotData<E: Env> {
    pub(in crate::raft) source: Source<E>,
}

impl<E: Env> SnapshotData<E> {
    /// A snapshot that was received from another replica.
    pub fn received(path: PathBuf, machine: Machine) -> Self {
        Self { source: Source::Received { path, machine: Box::new(machine) } }
    }

    /// The snapshot of a machine that has applied nothing.
    pub fn nothing() -> Self {
        Self { source: Source::Nothing }
    }

    /// A snapshot that lies in a file of `owner`.
    pub fn stored(file: Rc<SnapshotFile<E>>, owner: Rc<SnapshotKeeper<E>>) -> Self {
        Self { source: Source::Stored { file, owner } }
    }
}

/// Where a snapshot's content is.
pub enum Source<E: Env> {
    /// Nowhere: nothing was applied.
    Nothing,
    /// In a durable file under its final name.
    Stored {
        /// Open file; it stays readable after its removal.
        file: Rc<SnapshotFile<E>>,
        /// Takes a fresh snapshot if this one turns out to be damaged.
        owner: Rc<SnapshotKeeper<E>>,
    },
    /// In a synced file under a name of its own in the group's directory, and built already.
    Received {
        /// Finished file, under the name of its transfer.
        path: PathBuf,
        /// Machine that was restored from the file.
        machine: Box<Machine>,
    },
}
