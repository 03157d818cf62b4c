//! A log that cannot be opened: advice for the operator, and the exit code.

use std::io;
use std::path::Path;

use kahuna_protocol::ShardId;
use kahuna_wal::LogOpenError;

use crate::env::ExitCode;
use crate::node::manifest::Manifest;

/// Advice about a log of `shard` that cannot be opened and is not given up by itself, to be put behind the message. The log
/// may be whole and only in the wrong place, or out of reach; where it is gone, it is a lost log.
pub fn remedy(error: &LogOpenError, manifest: &Manifest, dir: &Path, shard: ShardId) -> String {
    let first = match error {
        LogOpenError::Io { operation: "allocate", source, .. } if is_full(source) => {
            return "; its disk is full, and the log has no segment left: free some space there and start again"
                .to_owned();
        }
        LogOpenError::Foreign { .. } => "put back the log that belongs there; if it is gone",
        LogOpenError::Io { operation: "read", .. } => "if the disk does not give it back any more",
        _ => return String::new(),
    };
    let way = match error {
        LogOpenError::Foreign { .. } if is_alone(manifest) => {
            let (log, dir) = (manifest.log_dir(dir, shard), dir.display());
            format!("move {} away: `kahuna recover --data-dir {dir}` keeps what the others hold", log.display())
        }
        _ => way_out(manifest, dir, shard),
    };
    format!("; {first}, {way}")
}

/// Advice about a log of `shard` that is of no use any more.
pub fn way_out(manifest: &Manifest, dir: &Path, shard: ShardId) -> String {
    if is_alone(manifest) {
        format!("`kahuna recover --data-dir {}` keeps what can be read", dir.display())
    } else {
        let log = manifest.log_dir(dir, shard);
        format!("move {} away and start again: the other nodes feed its groups", log.display())
    }
}

/// Whether no other node holds the data.
fn is_alone(manifest: &Manifest) -> bool {
    manifest.founding.as_ref().is_none_or(|founding| founding.members.len() < 2)
}

/// Whether the disk is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The exit code of the process for a log that cannot be opened.
pub fn exit_code_of(error: &LogOpenError) -> ExitCode {
    match error {
        LogOpenError::Io { operation: "allocate", source, .. } if is_full(source) => ExitCode::HostNotFit,
        LogOpenError::Io { .. } => ExitCode::DiskFailed,
        LogOpenError::NewerFormat { .. } => ExitCode::HostNotFit,
        _ => ExitCode::DataDamaged,
    }
}
