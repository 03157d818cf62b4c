//! A snapshot that is whole and durable, and what travels through openraft under that name.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kahuna_machine::{Fault, Machine, SnapshotError};
use kahuna_wal::{Disk, DiskFile, OpenMode, cannot_open};

use super::header::{FORMAT, Header, PROBE_BYTES};
use crate::env::Env;
use crate::raft::applied::Applied;
use crate::raft::encoding::Malformed;

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// The system refused an operation.
    #[error("{}: {source}", path.display())]
    Io {
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The disk is full, or the process may open no more files for now.
    #[error("{}: {source}", path.display())]
    NoRoom {
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The header or the pointer is not one, or belongs to another snapshot.
    #[error("{}: {why}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// It is whole, and of a format that this software does not know.
    #[error("{}: its format is {format}, and this software reads up to {FORMAT}: start the newer version", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The number in its header.
        format: u16,
    },
    /// A block is damaged, missing or out of place.
    #[error("{}: {source}", path.display())]
    Block {
        /// The file.
        path: PathBuf,
        /// Which block, and why.
        source: SnapshotError,
    },
}

impl SnapshotFault {
    /// Whether what was written is no longer there: no repetition and no other version of the software will read it.
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Io { source, .. } | Self::NoRoom { source, .. } => {
                source.kind() == io::ErrorKind::NotFound || source.raw_os_error() == Some(libc::EIO)
            }
            Self::Header { .. } | Self::Block { .. } => !self.is_newer(),
            Self::Newer { .. } => false,
        }
    }

    /// Whether a newer version of the software wrote it.
    pub fn is_newer(&self) -> bool {
        match self {
            Self::Newer { .. } => true,
            Self::Block { source, .. } => matches!(source.fault, Fault::Version(_)),
            Self::Io { .. } | Self::NoRoom { .. } | Self::Header { .. } => false,
        }
    }

    pub(in crate::raft) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoRoom { path, source },
            _ if cannot_open(&source) => Self::NoRoom { path, source },
            _ => Self::Io { path, source },
        }
    }

    /// For what must not be tried again, whatever the reason: what the disk holds then is unknown.
    pub(in crate::raft) fn failed(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(super) fn header(path: &Path) -> impl FnOnce(Malformed) -> Self {
        let path = path.to_owned();
        move |malformed| Self::Header { path, why: malformed.to_string() }
    }

    pub(super) fn block(path: &Path) -> impl FnOnce(SnapshotError) -> Self {
        let path = path.to_owned();
        move |source| Self::Block { path, source }
    }
}

impl From<SnapshotFault> for io::Error {
    fn from(fault: SnapshotFault) -> Self {
        match fault {
            SnapshotFault::Io { source, path } | SnapshotFault::NoRoom { source, path } => {
                Self::new(source.kind(), format!("{}: {source}", path.display()))
            }
            fault => Self::new(io::ErrorKind::InvalidData, fault),
        }
    }
}

/// An open snapshot file. It can be read as long as somebody holds this, also when a newer one has replaced it.
pub struct SnapshotFile<E: Env> {
    /// Where it lies, or lay.
    pub path: PathBuf,
    /// For reading.
    pub file: <E::Disk as Disk>::File,
    /// The whole length in bytes.
    pub bytes: u64,
    /// What it is of.
    pub header: Header,
    /// Where its blocks begin.
    pub header_bytes: usize,
    /// A part of it turned out to be unreadable.
    pub damaged: Cell<bool>,
}

impl<E: Env> SnapshotFile<E> {
    /// Opens the snapshot at `path` and checks its header.
    ///
    /// # Errors
    /// `Io`, `Header`.
    pub async fn open(disk: &E::Disk, path: &Path) -> Result<Self, SnapshotFault> {
        let file = disk.open(path, OpenMode::Read).await.map_err(SnapshotFault::io(path))?;
        let bytes = file.len().await.map_err(SnapshotFault::io(path))?;
        let probe = file.read_at(0, PROBE_BYTES).await.map_err(SnapshotFault::io(path))?;
        let header_bytes = Header::length(&probe).map_err(SnapshotFault::header(path))?;
        let head = file.read_at(0, header_bytes).await.map_err(SnapshotFault::io(path))?;
        if let Some(format) = Header::newer(&head) {
            return Err(SnapshotFault::Newer { path: path.to_owned(), format });
        }
        let header = Header::read(&head).map_err(SnapshotFault::header(path))?;
        Ok(Self { path: path.to_owned(), file, bytes, header, header_bytes, damaged: Cell::new(false) })
    }
}

/// What openraft passes around as a snapshot's content.
pub struct SnapshotData<E: Env> {
    pub(in crate::raft) source: Source<E>,
}

impl<E: Env> SnapshotData<E> {
    /// A snapshot that came from another replica.
    pub fn received(path: PathBuf, machine: Machine) -> Self {
        Self { source: Source::Received { path, machine: Box::new(machine) } }
    }

    /// The snapshot of a machine that has applied nothing.
    pub fn nothing() -> Self {
        Self { source: Source::Nothing }
    }

    /// A snapshot that lies in a file of `owner`.
    pub fn stored(file: Rc<SnapshotFile<E>>, owner: Rc<Applied<E>>) -> Self {
        Self { source: Source::Stored { file, owner } }
    }
}

/// Where a snapshot's content is.
pub enum Source<E: Env> {
    /// Nowhere: nothing was applied.
    Nothing,
    /// In a durable file under its final name.
    Stored {
        /// The file.
        file: Rc<SnapshotFile<E>>,
        /// Who makes a fresh one if this one turns out to be damaged.
        owner: Rc<Applied<E>>,
    },
    /// In a synced file under a name of its own in the group's directory, and built already.
    Received {
        /// The file.
        path: PathBuf,
        /// Its content.
        machine: Box<Machine>,
    },
}
