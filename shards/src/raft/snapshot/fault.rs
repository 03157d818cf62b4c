//! Why a snapshot cannot be written or read.

use std::io;
use std::path::{Path, PathBuf};

use kahuna_machine::{Fault, SnapshotError};
use kahuna_wal::cannot_open;

use super::header::FORMAT;
use crate::raft::encoding::Malformed;

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// The system refused an operation.
    #[error("{}: {source}", path.display())]
    Io {
        /// On which file.
        path: PathBuf,
        /// Error that the operation returned.
        source: io::Error,
    },
    /// The disk is full, or the process may open no more files for now.
    #[error("{}: {source}", path.display())]
    NoRoom {
        /// On which file.
        path: PathBuf,
        /// Error that the operation returned.
        source: io::Error,
    },
    /// The header or the pointer is not one, or belongs to another snapshot.
    #[error("{}: {why}", path.display())]
    Header {
        /// Snapshot file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// It is whole, and of a format that this software does not know.
    #[error("{}: its format is {format}, and this software reads up to {FORMAT}: start the newer version", path.display())]
    Newer {
        /// Snapshot file.
        path: PathBuf,
        /// The number in its header.
        format: u16,
    },
    /// A block is damaged, missing or out of place.
    #[error("{}: {source}", path.display())]
    Block {
        /// Snapshot file.
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
