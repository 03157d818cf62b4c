//! openraft's own suite for log storage and state machine, over the real log, its ring and real files.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use kahuna_machine::{Machine, Range};
use kahuna_protocol::GroupId;
use kahuna_protocol::meta::Settings;
use kahuna_shards::clock::Clock;
use kahuna_shards::env::{Env, ExitCode};
use kahuna_shards::linux::{Linux, ShardOptions, spawn_shard};
use kahuna_shards::raft::types::Types;
use kahuna_shards::raft::{AppliedContext, AppliedState, LogStore, Reads, StateMachine};
use kahuna_wal::{Disk, GroupLog, Log, LogIdentity, LogOptions};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

const GROUP: GroupId = GroupId(7);

/// Makes every store in a directory of its own.
struct Builder {
    dir: PathBuf,
    made: AtomicU64,
}

impl StoreBuilder<Types<Linux>, LogStore<Linux>, StateMachine<Linux>> for Builder {
    async fn build(&self) -> Result<((), LogStore<Linux>, StateMachine<Linux>), StorageError<Types<Linux>>> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.join(number.to_string());
        let disk = kahuna_shards::linux::disk();
        let identity = LogIdentity { cluster: [1; 16], incarnation: 2, shard: 3 };
        let log = Log::open(disk.clone(), &dir.join("log"), identity, LogOptions::small()).await;
        let (log, recovered) = log.expect("a fresh directory");
        assert!(recovered.groups.is_empty());
        let writer = log.clone();
        Linux::spawn(async move {
            writer.run().await.unwrap_or_else(|error| Linux::abort(ExitCode::DiskFailed, &error.to_string()));
        });
        let snapshots = dir.join("snapshots");
        disk.create_dir_all(&snapshots).await.expect("a fresh directory");
        let log = LogStore::new(GROUP, log, GroupLog::default()).expect("nothing to misread");
        let start = AppliedContext {
            group: GROUP,
            log: log.clone(),
            disk,
            dir: snapshots,
            clock: Clock::new(250).into(),
            snapshot_log_bytes: 1 << 20,
        };
        let empty = Machine::new(Settings::default(), Range::all(0));
        let applied = AppliedState::open(start, empty, None).await.expect("no snapshot to misread");
        Ok(((), log, StateMachine { applied, reads: Reads::default() }))
    }
}

#[test]
fn passes_the_storage_suite_of_openraft() {
    let dir = tempfile::tempdir().expect("a directory");
    let builder = Builder { dir: dir.path().to_owned(), made: AtomicU64::new(0) };
    let shard = spawn_shard(ShardOptions::new(0), move || async move { Suite::test_all(builder).await });
    shard.expect("a shard").join().expect("the suite passes");
}
