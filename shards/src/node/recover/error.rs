//! Why nothing was recovered.

use std::io;
use std::path::PathBuf;

use kahuna_wal::{LogError, LogOpenError};

use crate::node::manifest::ManifestError;
use crate::node::open::DataDirError;
use crate::raft::snapshot::SnapshotFault;

/// Why nothing was recovered. The data directory is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// There is no data.
    #[error("{0} holds no data of this program: there is nothing to recover; correct --data-dir")]
    NoData(PathBuf),
    /// The node never belonged to a cluster.
    #[error("{0} never belonged to a cluster: there is nothing to recover; remove it, or start the node")]
    Pending(PathBuf),
    /// Another process holds the data directory.
    #[error("{0} is in use by another process; stop it first")]
    Locked(PathBuf),
    /// A log is of another cluster, or of a newer version, or cannot be looked for.
    #[error(transparent)]
    Log(#[from] LogOpenError),
    /// A snapshot is of a newer version, or cannot be written.
    #[error("snapshot {0}")]
    Snapshot(#[from] SnapshotFault),
    /// The new log cannot be written.
    #[error("cannot write the new log: {0}")]
    Write(#[from] LogError),
    /// The system refused an operation on a file.
    #[error("{path}: {source}")]
    Io {
        /// On which file or directory.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// What is there cannot become a cluster, for the reason given.
    #[error("{0}")]
    Unfit(String),
    /// The kernel refused io_uring, memory or a thread.
    #[error("cannot read the data: {0}; `kahuna check` says what the host lacks")]
    Shard(io::Error),
}

impl From<ManifestError> for RecoverError {
    fn from(error: ManifestError) -> Self {
        Self::DataDir(error.into())
    }
}

impl RecoverError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
