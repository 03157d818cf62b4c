//! What a replica cannot do, each with what its caller must know.

use std::path::PathBuf;

use kahuna_protocol::{GroupId, Incarnation};

use super::encoding::Malformed;
use super::snapshot::SnapshotFault;
use crate::env::ExitCode;

/// Why a replica cannot be opened. The node must not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A record of the group in the log cannot be read as its kind.
    #[error("group {group}: the log holds what is {source}: it was written by another version, or is damaged")]
    Log {
        /// Group of the replica.
        group: GroupId,
        /// What is wrong.
        source: Malformed,
    },
    /// The group's snapshot, which the log names, cannot be used.
    #[error("group {group}: snapshot {source}")]
    Snapshot {
        /// Group of the replica.
        group: GroupId,
        /// What is wrong.
        source: SnapshotFault,
    },
    /// The group's snapshot is damaged or missing, and the log behind it was purged: this replica has forgotten entries that
    /// it may have acknowledged. It must never be opened under this replica id again; another replica can take its place.
    #[error("group {group}: its snapshot is lost: {source}; what is left of it, if anything, is kept as {}", kept.display())]
    SnapshotLost {
        /// Group of the replica.
        group: GroupId,
        /// What is wrong with the file.
        source: SnapshotFault,
        /// Where the file is kept, if there was one.
        kept: PathBuf,
    },
    /// Log and snapshot contradict each other.
    #[error("group {group}: {why}")]
    Raft {
        /// Group of the replica.
        group: GroupId,
        /// In openraft's form.
        why: String,
    },
}

impl OpenError {
    /// What the process ends with: a disk that does not answer is not damaged data.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Snapshot { source: SnapshotFault::Io { .. } | SnapshotFault::NoRoom { .. }, .. } => {
                ExitCode::DiskFailed
            }
            Self::Snapshot { source, .. } if source.is_newer() => ExitCode::HostNotFit,
            _ => ExitCode::DataDamaged,
        }
    }
}

/// Why a proposal has no outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This replica does not lead. The batch was never appended here and never will be; it may be proposed again,
    /// where the named data directory lives if one is.
    #[error("this replica does not lead")]
    NotLeader(Option<Incarnation>),
    /// The batch was appended, and the leadership was lost before it was known whether it is committed.
    #[error("the leadership was lost while the batch was on its way")]
    Unknown,
}

/// Why a replica may not be read at this level now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This replica does not lead, but the named one might.
    #[error("this replica does not lead")]
    NotLeader(Option<Incarnation>),
    /// A majority did not confirm in time that this replica leads.
    #[error("no majority confirmed the leadership")]
    NoQuorum,
    /// The replica was shut down.
    #[error("the replica stopped")]
    Stopped,
}

/// Why a leadership stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// This replica has none to give.
    #[error("this replica does not lead")]
    NotLeader,
    /// The other replica is no voter of the group.
    #[error("the other replica is no voter of the group")]
    NotVoter,
    /// The other replica does not answer, waits after its start, or lags behind.
    #[error("the other replica cannot take over now: {0}")]
    NotReady(String),
}

/// Why a group was not initialised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitializeError {
    /// This replica is not among the members.
    #[error("this replica is not among the members")]
    NotMember,
    /// The replica stopped before the membership was stored.
    #[error("the replica stopped: {0}")]
    Stopped(String),
}
