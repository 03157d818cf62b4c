//! Why a node does not start.

use std::io;
use std::net::SocketAddr;

use kahuna_wal::{LogError, LogOpenError};

use super::data_dir::DataDirError;
use crate::config::{MAX_PARTITIONS, TimingError};
use crate::node::manifest::ManifestError;

/// Why a node does not start. Nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum NodeStartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A cluster of so many partitions would not come up.
    #[error(
        "{0} partitions are too many: a cluster has at most {MAX_PARTITIONS}, whose placement fits one record of the log"
    )]
    Partitions(u32),
    /// Raft would not start with these times.
    #[error(transparent)]
    Timing(#[from] TimingError),
    /// The process may not open as many files as the node itself needs.
    #[error(
        "the limit of open files is {limit}, and this node needs {needed}; set LimitNOFILE={needed} in a systemd unit, or run \
         `sudo prlimit --pid $$ --nofile={needed}:{needed}` in this shell"
    )]
    OpenFiles {
        /// Soft limit (`RLIMIT_NOFILE`) of the process.
        limit: u64,
        /// By the node, with some clients.
        needed: u64,
    },
    /// Another process holds the data directory.
    #[error("{0} is in use by another process; stop it, or give another --data-dir")]
    Locked(String),
    /// Clients and peers would share one door.
    #[error("{0} cannot be both the clients' address and the peers'; give another port to one of them")]
    OneDoor(SocketAddr),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; free the port or choose another one")]
    Listen {
        /// Address of `--listen` or `--peer-listen`.
        address: SocketAddr,
        /// Error of the system.
        source: io::Error,
    },
    /// The logs could not be cut for another number of shards; the old ones are still valid.
    #[error("cannot move the logs to --shards {shards}: {source}; start with --shards {valid}, which they are for")]
    Reshard {
        /// The number asked for.
        shards: u16,
        /// The number that the logs are for.
        valid: u16,
        /// What went wrong.
        source: ReshardError,
    },
    /// The kernel refused io_uring, memory or a thread.
    #[error("cannot start a shard: {0}; `kahuna check` says what the host lacks")]
    Shard(io::Error),
}

/// Why the logs could not be cut anew; the old ones are still valid.
#[derive(Debug, thiserror::Error)]
pub enum ReshardError {
    /// A log could not be opened.
    #[error(transparent)]
    Open(#[from] LogOpenError),
    /// A log could not be written.
    #[error(transparent)]
    Write(#[from] LogError),
    /// The manifest could not be switched.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}
