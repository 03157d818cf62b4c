//! What can go wrong, apart by who has to act: [`LogOpenError`] is for the operator, [`LogError`] ends the shard.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::LogIdentity;

/// Why a log cannot be opened. Nothing on disk was changed when it is returned, except by `Io`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogOpenError {
    /// The system refused an operation.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was tried, such as `open` or `read`.
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Error that the operation returned.
        source: io::Error,
    },
    /// Bytes that were durable are damaged: replaying further would lose acknowledged records.
    #[error("{}: damaged at offset {offset}: {why}; nothing after it can be trusted", file.display())]
    Corrupt {
        /// The damaged segment file.
        file: PathBuf,
        /// Where in it the damage begins, in bytes: the start of the damaged header or batch.
        offset: u64,
        /// What was found.
        why: String,
    },
    /// The log belongs to another cluster, node or shard.
    #[error("{}: belongs to {found}, not to {expected}", file.display())]
    Foreign {
        /// The segment file whose header was read.
        file: PathBuf,
        /// Whose it is.
        found: LogIdentity,
        /// Who asked.
        expected: LogIdentity,
    },
    /// The log was written in a format this program does not know.
    #[error("{}: format version {found} is newer than {supported}, the newest this program reads", file.display())]
    NewerFormat {
        /// The segment file whose header was read.
        file: PathBuf,
        /// Format version in the segment's header.
        found: u32,
        /// The newest version this program reads.
        supported: u32,
    },
    /// There is no log, and the options forbid to create one.
    #[error("{}: no log here", dir.display())]
    Missing {
        /// The directory that was looked at.
        dir: PathBuf,
    },
}

impl LogOpenError {
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }
}

/// Why an append was not made durable. Every waiter gets a clone.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A write failed: what the disk holds is unknown, the log takes nothing more, and the process should end.
    #[error("{operation} {}: {source}", path.display())]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Error that the operation returned; shared, because every waiting append gets a copy.
        source: Arc<io::Error>,
    },
    /// The log was closed before; nothing was appended.
    #[error("the log is closed")]
    Closed,
    /// A record does not fit in a segment: it and those after it in this append were not taken; the log goes on.
    #[error("a record of {bytes} bytes is over the limit of {limit} bytes (segment_bytes)")]
    TooLarge {
        /// The encoded length of the record.
        bytes: usize,
        /// The longest encoded record.
        limit: usize,
    },
}

impl LogError {
    pub(crate) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Failed { operation, path, source: Arc::new(source) }
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match &error {
            LogError::Failed { source, .. } => source.kind(),
            LogError::Closed => io::ErrorKind::BrokenPipe,
            LogError::TooLarge { .. } => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}
