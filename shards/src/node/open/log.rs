//! The log of a shard: whose it is, and how an empty one is made.

use std::path::Path;

use kahuna_protocol::ShardId;
use kahuna_wal::{Log, LogIdentity, LogOptions};

use super::remedy::exit_code_of;
use crate::env::{Env, ExitCode};
use crate::node::manifest::Manifest;

/// What a shard waits for until its log and the groups in it are open.
pub const OPENING: &str = "opening its logs";

/// Whose log it is, for the log's checksums.
pub fn log_identity(manifest: &Manifest, shard: ShardId) -> LogIdentity {
    let founding = manifest.founding.as_ref().expect("a log is opened only after the founding");
    LogIdentity { cluster: founding.cluster.0, incarnation: manifest.incarnation.0, shard: shard.0 }
}

/// Makes the empty log of one shard, durably.
///
/// # Errors
/// The exit code of the process, and its last message.
pub async fn make_log<E: Env>(
    disk: &E::Disk,
    data_dir: &Path,
    manifest: &Manifest,
    shard: ShardId,
    options: LogOptions,
) -> Result<(), (ExitCode, String)> {
    let identity = log_identity(manifest, shard);
    let failed = |code, error: &dyn std::fmt::Display| (code, format!("cannot make the log of shard {shard}: {error}"));
    let opened = Log::open(disk.clone(), &manifest.log_dir(data_dir, shard), identity, options).await;
    let (log, _) = opened.map_err(|error| failed(exit_code_of(&error), &error))?;
    log.close();
    log.run().await.map_err(|error| failed(ExitCode::DiskFailed, &error))
}
