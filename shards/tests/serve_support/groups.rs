//! Groups of one replica each, on a real log.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use kahuna_machine::{Machine, Range};
use kahuna_protocol::meta::{Map, Settings};
use kahuna_protocol::{GroupId, RangeMap, ReplicaId};
use kahuna_shards::env::Env;
use kahuna_shards::group::Group;
use kahuna_shards::linux::Linux;
use kahuna_shards::raft::{Heartbeats, Replica, ReplicaContext};
use kahuna_shards::shard::Shard;
use kahuna_wal::{GroupLog, Log, LogIdentity, LogOptions, UringDisk};

use super::INCARNATION;

/// Opens the groups `1..=partitions`, each with its one replica, on the shards that own them. They lead nothing before
/// [`Replica::initialize`].
pub async fn open_groups(shards: &[Rc<Shard<Linux>>], dir: PathBuf, partitions: u32, settings: Settings) {
    let disk = kahuna_shards::linux::disk();
    let ranges = RangeMap::even(partitions);
    for shard in shards {
        let identity = LogIdentity { cluster: [1; 16], incarnation: INCARNATION.0, shard: shard.id().0 };
        let log_dir = dir.join(format!("log-{}", shard.id()));
        let options = LogOptions { segment_bytes: 4 << 20, ..LogOptions::default() };
        let (log, _) = Log::open(disk.clone(), &log_dir, identity, options).await.expect("a new log");
        let writer = log.clone();
        Linux::spawn(async move { writer.run().await.expect("the disk works") });
        for group in (1..=partitions).map(GroupId).filter(|group| group.shard(shard.shards()) == shard.id()) {
            let context = ReplicaContext {
                log: log.clone(),
                disk: disk.clone(),
                snapshot_dir: dir.join(format!("snapshots-{group}")),
                peers: shard.peers().clone(),
                clock: shard.clock().clone(),
                timing: shard.config().timing,
                boot_deadline: Duration::ZERO,
                snapshot_log_bytes: 64 << 20,
                incarnation: INCARNATION,
                heartbeats: Heartbeats::new(shard.config().timing.heartbeat),
                campaigns: Rc::default(),
            };
            let machine = Machine::new(settings, Range::of(&ranges, group).expect("a partition of the map"));
            let replica = Replica::open(context, group, replica_of(group), machine, GroupLog::default()).await;
            shard.insert_group(Group::new(group, replica.expect("nothing to recover"), shard.group_context()));
        }
        shard.view().set_map(Map { ranges: ranges.clone(), nodes: Vec::new() });
        shard.set_log(log);
    }
}

/// Makes every group lead itself.
pub async fn lead(shards: &[Rc<Shard<Linux>>]) {
    for shard in shards {
        for group in shard.groups().all() {
            let members = [(replica_of(group.id()), INCARNATION)];
            group.replica().initialize(&members).await.expect("a new group");
        }
    }
}

fn replica_of(group: GroupId) -> ReplicaId {
    ReplicaId(100 + u64::from(group.0))
}
