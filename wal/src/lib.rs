#![doc = include_str!("../README.md")]

mod aligned;
mod disk;
mod error;
mod format;
mod identity;
pub mod inspect;
mod log;
mod options;
pub mod recovery;
mod uring;

pub use aligned::AlignedBuf;
pub use disk::{Disk, DiskFile, Durability, FileEntry, OpenMode, cannot_open};
pub use error::{LogError, LogOpenError};
pub use format::record::{ENTRY_META_BYTES, EntryMeta, GroupId, Record};
pub use format::{BLOCK_BYTES, FORMAT_VERSION, Position};
pub use identity::LogIdentity;
pub use log::{Appended, Log, LogStats, Space};
pub use options::LogOptions;
pub use recovery::{GroupLog, LogEntry, Recovered, RecoveryReport};
pub use uring::{Ring, UringDisk, UringFile, Watch, block_on, wait_for_writers};
