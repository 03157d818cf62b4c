//! Power fails at every step of building the data directory of a recovery.
//!
//! Claim: the new directory either has no manifest yet, which an attempt that is repeated removes, or it is whole; the old
//! one is as it was all along; and once the job says that it is done, a power loss takes nothing of it. How directories then
//! change their names is `node::recover::switch`'s, and tested there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::key::{Condition, KeySet};
use kahuna_protocol::{ClusterId, GroupId, Incarnation, Outcome};
use kahuna_shards::env::Env;
use kahuna_shards::env::local::LocalOneshot;
use kahuna_shards::node::manifest::Manifest;
use kahuna_shards::node::recover::{Job, Loss, Mint, Report};
use kahuna_sim::cluster::{Cluster, Shape, SimClient};
use kahuna_sim::{Sim, SimDisk, World};
use kahuna_wal::Disk;

const NODE: u64 = 1;
const TARGET: &str = "/data.recovering";
/// How long one operation of the disk takes: power fails once within each.
const STEP: Duration = Duration::from_micros(100);
const LIMIT: Duration = Duration::from_secs(60);

/// The disk of a node alone that was killed under way, with snapshots and logs behind them.
fn old_disk(seed: u64) -> SimDisk {
    let world = World::new(seed);
    let nanos = STEP.as_nanos() as u64;
    let cluster = Cluster::new(&world, Shape { partitions: 2, disk_nanos: (nanos, nanos), ..Shape::small(1) });
    cluster.start(NODE);
    let (done, ended) = LocalOneshot::pair();
    let endpoints = cluster.shape().endpoints();
    world.spawn_on(Cluster::client_node(0), async move {
        let client = SimClient::new(endpoints);
        for number in 0..60_u32 {
            let (key, value) = (format!("key-{}", number % 20).into(), vec![number as u8; 1000]);
            let set = KeySet { key, value, ttl_ms: None, condition: Condition::default(), no_history: false };
            let reply = client.call(set, LIMIT).await.expect("it is served");
            assert!(matches!(reply.outcome, Outcome::Set(_)), "{reply:?}");
        }
        let _ = done.send(());
    });
    world.block_on(ended).expect("all is written");
    cluster.kill(NODE);
    cluster.disk(NODE)
}

/// What recovering `dir` means; `None` if there is no manifest in it.
async fn job(disk: &SimDisk, dir: &str, target: Option<&str>) -> Option<Job> {
    let dir = PathBuf::from(dir);
    let manifest = Manifest::read(disk, &dir).await.expect("a manifest is whole")?;
    let mut snapshots: BTreeMap<GroupId, Vec<PathBuf>> = BTreeMap::new();
    for path in disk.directories(&dir.join("snapshots")) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name of ours");
        let group = name.strip_prefix("group-").and_then(|rest| rest.split_once("-replica-"));
        let group = group.and_then(|(group, _)| group.parse().ok()).map(GroupId).expect("a name of ours");
        snapshots.entry(group).or_default().push(path);
    }
    let mint = Mint { cluster: ClusterId([9; 16]), incarnation: Incarnation(77) };
    Some(Job { dir, manifest, snapshots, mint, restore_epoch: None, target: target.map(PathBuf::from) })
}

/// What would become of the data in `dir`.
fn look(disk: &SimDisk, dir: &str) -> Option<Report> {
    World::new(0).block_on(async {
        let report = job(disk, dir, None).await?.run::<Sim>(disk).await;
        Some(report.unwrap_or_else(|error| panic!("{dir}: {error}")))
    })
}

/// Builds the new directory until power fails after `time`; when it was done, if it was.
fn build(seed: u64, disk: &SimDisk, time: Duration) -> Option<Duration> {
    disk.remove_tree(Path::new(TARGET));
    World::new(seed).block_on(disk.sync_dir(Path::new("/"))).expect("the disk works");
    let world = World::new(seed);
    let done = Rc::new(Cell::new(None));
    let failed = Rc::new(RefCell::new(None));
    let (told, failure, node) = (done.clone(), failed.clone(), disk.clone());
    world.spawn_on(NODE, async move {
        let began = Sim::boot_clock();
        let job = job(&node, "/data", Some(TARGET)).await.expect("the old one is there");
        match job.run::<Sim>(&node).await {
            Ok(_) => told.set(Some(Sim::boot_clock() - began)),
            Err(error) => *failure.borrow_mut() = Some(error.to_string()),
        }
    });
    world.run_for(time);
    assert_eq!((failed.take(), world.exits()), (None, vec![]), "seed {seed}");
    world.kill(NODE);
    disk.crash();
    done.get()
}

/// What a report says of each group's content.
fn contents(report: &Report) -> Vec<(GroupId, Option<u64>, u64)> {
    report.groups.iter().map(|group| (group.group, group.last_index, group.records)).collect()
}

#[test]
fn wherever_power_fails_the_new_directory_is_whole_or_has_no_manifest() {
    let seed = 5;
    let disk = old_disk(seed);
    let old = look(&disk, "/data").expect("a node ran there");
    let data = &old.groups[1..];
    assert!(data.iter().any(|group| group.snapshot_index.is_some() && group.snapshot_index < group.last_index));
    let end = build(seed, &disk, LIMIT).expect("it ends by itself");
    let new = look(&disk, TARGET).expect("it is done");
    let records = |report: &Report| report.groups.iter().map(|group| group.records).collect::<Vec<_>>();
    assert_eq!(records(&new), records(&old));

    let (mut unfinished, mut whole) = (0, 0);
    let steps = u32::try_from(end.as_nanos() / STEP.as_nanos()).expect("a few hundred");
    for step in 0..=steps + 2 {
        let time = STEP * step + STEP / 2;
        let done = build(seed, &disk, time);
        match look(&disk, TARGET) {
            None => {
                assert_eq!(done, None, "power fails after {time:?}: what was done is gone");
                unfinished += 1;
            }
            Some(report) => {
                assert_eq!(contents(&report), contents(&new), "power fails after {time:?}");
                assert!(report.groups.iter().all(|group| group.loss == Loss::None), "{time:?}: {:?}", report.groups);
                assert!(report.logs.iter().all(|log| log.damage.is_none()), "{time:?}: {:?}", report.logs);
                whole += 1;
            }
        }
    }
    assert_eq!(contents(&look(&disk, "/data").expect("it is there")), contents(&old));
    assert!(unfinished > 20 && whole > 1, "{unfinished} times unfinished, {whole} times whole");
}
