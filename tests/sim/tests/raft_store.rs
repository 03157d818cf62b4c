//! openraft's own suite for log storage and state machine, over the real log on the memory disk, in several orders.

use std::path::Path;

use kahuna_machine::{Machine, Range};
use kahuna_protocol::{GroupId, meta::Settings};
use kahuna_shards::{
    clock::Clock,
    env::{Env, ExitCode},
    raft::{AppliedContext, AppliedState, LogStore, Reads, StateMachine, types::Types},
};
use kahuna_sim::{DiskOptions, Sim, SimDisk, World};
use kahuna_wal::{Disk, GroupLog, Log, LogIdentity, LogOptions};
use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};

const GROUP: GroupId = GroupId(7);

/// Makes every store on a disk of its own.
struct Builder {
    seed: u64,
}

impl StoreBuilder<Types<Sim>, LogStore<Sim>, StateMachine<Sim>> for Builder {
    async fn build(&self) -> Result<((), LogStore<Sim>, StateMachine<Sim>), StorageError<Types<Sim>>> {
        let disk = SimDisk::new(DiskOptions { seed: self.seed, ..DiskOptions::default() });
        let identity = LogIdentity { cluster: [1; 16], incarnation: 2, shard: 3 };
        let log = Log::open(disk.clone(), Path::new("/data/log"), identity, LogOptions::small()).await;
        let (log, recovered) = log.expect("a fresh directory");
        assert!(recovered.groups.is_empty());
        let writer = log.clone();
        Sim::spawn(async move {
            writer.run().await.unwrap_or_else(|error| Sim::abort(ExitCode::DiskFailed, &error.to_string()));
        });
        let snapshots = Path::new("/data/snapshots");
        disk.create_dir_all(snapshots).await.expect("a fresh directory");
        let log = LogStore::new(GROUP, log, GroupLog::default()).expect("nothing to misread");
        let start = AppliedContext {
            group: GROUP,
            log: log.clone(),
            disk,
            dir: snapshots.to_owned(),
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
    for seed in 0..10 {
        World::new(seed).block_on(async { Suite::test_all(Builder { seed }).await }).expect("the suite passes");
    }
}
