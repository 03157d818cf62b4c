//! Whole nodes on disks that fill up: what grows is refused, the rest goes on, and room brings everything back.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kahuna_client::ClientError;
use kahuna_protocol::key::{Condition, KeyDelete, KeyGet, KeySet};
use kahuna_protocol::lock::{LockAcquire, LockExtend, LockRelease};
use kahuna_protocol::meta::DiskSpace;
use kahuna_protocol::{ErrorCode, GroupId, Outcome, Request};
use kahuna_shards::env::local::LocalOneshot;
use kahuna_sim::cluster::{Cluster, GroupView, Shape, SimClient};
use kahuna_sim::{DiskOp, NodeId, World};
use kahuna_wal::Disk;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Long enough for whatever shall succeed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a write that shall be refused is repeated.
const BRIEF: Duration = Duration::from_secs(3);
const VALUE_BYTES: usize = 3000;

fn set(key: String) -> Request {
    let value = value_of(&key);
    KeySet { key: key.into(), value, ttl_ms: None, condition: Condition::default(), no_history: true }.into()
}

/// Noise, which snapshots cannot pack.
fn value_of(key: &str) -> Vec<u8> {
    let seed = key.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(257) + u64::from(byte));
    let mut value = vec![0; VALUE_BYTES];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut value);
    value
}

fn get(key: &str) -> Request {
    KeyGet { key: key.into(), revision: None, as_of: None }.into()
}

fn acquire(name: &str) -> Request {
    LockAcquire { name: name.into(), owner: "me".into(), ttl_ms: 600_000, wait_ms: 0 }.into()
}

async fn ask(client: &SimClient, request: impl Into<Request>) -> Outcome {
    client.call(request, PATIENCE).await.unwrap_or_else(|error| panic!("it is served: {error}")).outcome
}

async fn read(client: &SimClient, key: &str) -> Option<Vec<u8>> {
    match ask(client, get(key)).await {
        Outcome::Value(value) => Some(value.value),
        Outcome::NotFound(_) => None,
        other => panic!("{key}: {other:?}"),
    }
}

/// Sets keys under `prefix` until one is refused; gives those that were acknowledged, and the refusal.
async fn fill(client: &SimClient, prefix: &str) -> (Vec<String>, ClientError) {
    let mut acknowledged = Vec::new();
    loop {
        let key = format!("{prefix}-{}", acknowledged.len());
        match client.call(set(key.clone()), BRIEF).await {
            Ok(reply) => assert!(matches!(reply.outcome, Outcome::Set(_)), "{key}: {reply:?}"),
            Err(refusal) => return (acknowledged, refusal),
        }
        acknowledged.push(key);
        assert!(acknowledged.len() < 5000, "the disk never was full");
    }
}

async fn expect_all(client: &SimClient, keys: &[String]) {
    for key in keys {
        assert_eq!(read(client, key).await, Some(value_of(key)), "{key} was acknowledged");
    }
}

/// Runs `script` as a client process of the cluster.
fn run<T: 'static, F: Future<Output = T> + 'static>(
    cluster: &Cluster,
    script: impl FnOnce(SimClient) -> F + 'static,
) -> T {
    let (done, ended) = LocalOneshot::pair();
    let endpoints = cluster.shape().endpoints();
    cluster.world().spawn_on(Cluster::client_node(0), async move {
        let _ = done.send(script(SimClient::new(endpoints)).await);
    });
    cluster.world().block_on(ended).expect("the script runs to its end")
}

fn running(world: &World, shape: Shape) -> Cluster {
    let cluster = Cluster::new(world, shape);
    cluster.shape().numbers().for_each(|node| cluster.start(node));
    run(&cluster, |client| async move {
        for name in ["held", "kept"] {
            assert!(matches!(ask(&client, acquire(name)).await, Outcome::Acquired(_)));
        }
    });
    cluster
}

fn status(cluster: &Cluster, node: NodeId) -> DiskSpace {
    cluster.probe(node).expect("it runs").disk_space()
}

fn data_group(cluster: &Cluster, node: NodeId) -> GroupView {
    let groups = cluster.probe(node).expect("it runs").groups();
    groups.into_iter().find(|view| view.group == GroupId(1)).expect("every node has every group")
}

fn is_caught_up(cluster: &Cluster, node: NodeId, with: NodeId) -> bool {
    data_group(cluster, node).applied_index == data_group(cluster, with).applied_index
}

/// Lets the world run until `done`.
fn eventually(cluster: &Cluster, done: impl Fn() -> bool) {
    for _ in 0..600 {
        if done() {
            return;
        }
        cluster.world().run_for(Duration::from_millis(100));
    }
    panic!("it does not come about");
}

/// Files of unfinished snapshots.
fn unfinished(cluster: &Cluster, node: NodeId) -> Vec<PathBuf> {
    let disk = cluster.disk(node);
    let found = cluster.world().block_on(async move {
        let mut found = Vec::new();
        for dir in disk.directories(&Path::new(Cluster::data_dir()).join("snapshots")) {
            let files = disk.list(&dir).await.expect("it is there");
            found.extend(files.into_iter().map(|file| dir.join(file.name)));
        }
        found
    });
    found.into_iter().filter(|path| path.extension().is_some_and(|end| end == "tmp")).collect()
}

/// Claim: when all disks are full, what grows is refused, and says so; reads, deletes, releases and lock extends go on;
/// nothing that was acknowledged is lost; nodes open again on their full disks; room brings writes back by itself.
#[test]
fn full_disks_refuse_what_grows_and_nothing_else() {
    for (seed, nodes, power) in [(1, 3, false), (2, 1, true)] {
        let world = World::new(seed);
        let cluster = running(&world, Shape::small(nodes));
        cluster.shape().numbers().for_each(|node| cluster.disk(node).leave_room(512 << 10));
        let mut keys = run(&cluster, |client| async move {
            let (keys, refusal) = fill(&client, "first").await;
            let ClientError::Refused(refusal) = refusal else { panic!("a refusal was expected: {refusal}") };
            assert_eq!(refusal.code(), ErrorCode::DiskFull, "{}", refusal.text);
            assert!(refusal.retry_after_ms > 0 && refusal.text.contains("bytes"), "{}", refusal.text);
            expect_all(&client, &keys).await;
            keys
        });
        assert!(cluster.shape().numbers().any(|node| status(&cluster, node) != DiskSpace::Plenty), "seed {seed}");
        assert!(keys.len() > 10, "seed {seed}: {} keys", keys.len());
        let deleted = keys.split_off(keys.len() - 3);
        run(&cluster, move |client| async move {
            for key in &deleted {
                let delete = KeyDelete { key: key.clone().into(), condition: Condition::default() };
                assert!(matches!(ask(&client, delete).await, Outcome::Deleted(_)));
                assert_eq!(read(&client, key).await, None);
            }
            let extend = LockExtend { name: "kept".into(), owner: "me".into(), ttl_ms: 700_000 };
            assert!(matches!(ask(&client, extend).await, Outcome::LockExtended(_)));
            let release = LockRelease { name: "held".into(), owner: "me".into() };
            assert!(matches!(ask(&client, release).await, Outcome::Released(_)));
        });
        assert_eq!(world.exits(), [], "seed {seed}");

        // Both kinds of end find the same on a full disk.
        for node in cluster.shape().numbers() {
            if power { cluster.cut_power(node) } else { cluster.kill(node) }
        }
        cluster.shape().numbers().for_each(|node| cluster.start(node));
        let all = keys.clone();
        run(&cluster, move |client| async move { expect_all(&client, &all).await });
        assert_eq!(world.exits(), [], "seed {seed}");

        cluster.shape().numbers().for_each(|node| cluster.disk(node).leave_room(u64::MAX));
        run(&cluster, move |client| async move {
            for number in 0..50 {
                assert!(matches!(ask(&client, set(format!("after-{number}"))).await, Outcome::Set(_)));
            }
            expect_all(&client, &keys).await;
        });
        for node in cluster.shape().numbers() {
            eventually(&cluster, || status(&cluster, node) == DiskSpace::Plenty);
        }
        assert_eq!(world.exits(), [], "seed {seed}");
    }
}

/// Claim: a leader whose disk is full hands its groups to nodes with room, and writes go on; a majority of full disks
/// refuses them although the leader has room.
#[test]
fn writes_go_on_where_a_majority_has_room() {
    let world = World::new(3);
    let cluster = running(&world, Shape::small(3));
    let fill_log = |count: u32, prefix: &'static str| {
        run(&cluster, move |client| async move {
            for number in 0..count {
                assert!(matches!(ask(&client, set(format!("{prefix}-{number}"))).await, Outcome::Set(_)));
            }
        });
    };
    cluster.disk(1).leave_room(100 << 10);
    fill_log(120, "one");
    assert_ne!(status(&cluster, 1), DiskSpace::Plenty);
    let led = cluster.probe(1).expect("it runs").groups().iter().filter(|group| group.leading).count();
    assert_eq!(led, 0, "a node with a full disk keeps no group that another one can lead");

    cluster.disk(2).leave_room(100 << 10);
    run(&cluster, |client| async move {
        let (_, refusal) = fill(&client, "two").await;
        assert_eq!(refusal.code(), Some(ErrorCode::DiskFull), "{refusal}");
        assert!(refusal.to_string().contains("a majority"), "{refusal}");
        assert!(matches!(
            ask(&client, LockRelease { name: "held".into(), owner: "me".into() }).await,
            Outcome::Released(_)
        ));
    });
    assert_eq!(status(&cluster, 3), DiskSpace::Plenty);
    cluster.disk(2).leave_room(u64::MAX);
    fill_log(50, "three");
    cluster.disk(1).leave_room(u64::MAX);
    eventually(&cluster, || status(&cluster, 1) == DiskSpace::Plenty);
    eventually(&cluster, || is_caught_up(&cluster, 1, 3));
    assert_eq!(world.exits(), []);
}

/// Claim: replicas whose reserve is used up elect nobody, not even between themselves, and none of them ends; once there is
/// room they elect, and have what was acknowledged, without a restart.
#[test]
fn a_majority_that_cannot_store_a_vote_elects_once_there_is_room() {
    let world = World::new(7);
    let cluster = running(&world, Shape { partitions: 1, ..Shape::small(3) });
    let full = [2, 3];
    full.iter().for_each(|&node| cluster.disk(node).leave_room(100 << 10));
    let keys = run(&cluster, |client| async move {
        let (keys, refusal) = fill(&client, "key").await;
        assert_eq!(refusal.code(), Some(ErrorCode::DiskFull), "{refusal}");
        keys
    });
    for round in 0.. {
        if full.iter().all(|&node| status(&cluster, node) == DiskSpace::Exhausted) {
            break;
        }
        assert!(round < 200, "the reserves last");
        run(&cluster, |client| async move {
            for _ in 0..10 {
                let extend = LockExtend { name: "n".repeat(900).into(), owner: "me".into(), ttl_ms: 1000 };
                // The last ones are not acknowledged.
                let _ = client.call(extend, BRIEF).await;
            }
        });
    }
    cluster.kill(1);
    let led = || full.iter().any(|&node| data_group(&cluster, node).leading);
    for _ in 0..100 {
        world.run_for(Duration::from_millis(100));
        assert!(!led(), "a vote was given that could not be stored");
    }
    full.iter().for_each(|&node| cluster.disk(node).leave_room(u64::MAX));
    eventually(&cluster, led);
    run(&cluster, |client| async move {
        expect_all(&client, &keys).await;
        assert!(matches!(ask(&client, set("after".into())).await, Outcome::Set(_)));
    });
    assert_eq!(world.exits(), []);
    cluster.start(1);
    eventually(&cluster, || cluster.probe(1).expect("it runs").groups().len() == 2);
    eventually(&cluster, || is_caught_up(&cluster, 1, 2) && is_caught_up(&cluster, 1, 3));
}

/// Claim: a group whose directory finds no room is made once there is some; until then its node goes on, and starts anew.
#[test]
fn a_group_without_room_for_its_directory_is_made_later() {
    for nodes in [1, 3] {
        let world = World::new(6);
        let cluster = Cluster::new(&world, Shape::small(nodes));
        // The data directory is made, and that of the log.
        cluster.disk(nodes).fail(DiskOp::MakeDir, 2, ErrorKind::StorageFull);
        cluster.shape().numbers().for_each(|node| cluster.start(node));
        let made = || cluster.probe(nodes).expect("it runs").groups().len();
        for _ in 0..2 {
            world.run_for(Duration::from_secs(5));
            assert_eq!((world.exits(), made()), (vec![], 0), "{nodes} nodes");
            cluster.kill(nodes);
            cluster.start(nodes);
        }
        cluster.disk(nodes).mend();
        eventually(&cluster, || made() == 4);
        run(&cluster, |client| async move {
            assert!(matches!(ask(&client, set("key".into())).await, Outcome::Set(_)));
        });
        eventually(&cluster, || is_caught_up(&cluster, nodes, 1));
        cluster.kill(nodes);
        cluster.start(nodes);
        eventually(&cluster, || made() == 4);
        assert_eq!(world.exits(), [], "{nodes} nodes");
    }
}

/// Claim: a snapshot that finds no room is given back and taken once there is room, without another write.
#[test]
fn a_snapshot_without_room_is_taken_later() {
    let world = World::new(4);
    let cluster = running(&world, Shape { partitions: 1, ..Shape::small(1) });
    run(&cluster, |client| async move {
        for number in 0..20 {
            assert!(matches!(ask(&client, set(format!("key-{}", number % 8))).await, Outcome::Set(_)));
        }
    });
    let snapshot = || data_group(&cluster, 1).snapshot_index;
    eventually(&cluster, || snapshot() > 0);
    let before = snapshot();
    cluster.disk(1).leave_room(10 << 10);
    run(&cluster, |client| async move {
        for _ in 0..40 {
            let name = "n".repeat(900);
            let extended = ask(&client, LockExtend { name: name.into(), owner: "me".into(), ttl_ms: 1000 }).await;
            assert!(matches!(extended, Outcome::NotHeld(_)));
        }
    });
    world.run_for(Duration::from_secs(5));
    assert_eq!(snapshot(), before, "a second snapshot does not fit beside the first");
    cluster.disk(1).leave_room(u64::MAX);
    eventually(&cluster, || snapshot() > before);
    assert_eq!(unfinished(&cluster, 1), Vec::<PathBuf>::new());
    assert_eq!(world.exits(), []);
}

/// Claim: after a long shortage the log does not outrun its snapshots: one is tried as soon as as much was logged as makes
/// one due, however long the pause after the last attempt is.
#[test]
fn a_log_that_goes_on_after_a_shortage_is_cut_before_it_fills_the_disk() {
    let world = World::new(6);
    let cluster = running(&world, Shape { partitions: 1, ..Shape::small(1) });
    let write = |count: u32| {
        run(&cluster, move |client| async move {
            for number in 0..count {
                assert!(matches!(ask(&client, set(format!("key-{}", number % 8))).await, Outcome::Set(_)));
            }
        });
    };
    let snapshot = || data_group(&cluster, 1).snapshot_index;
    write(20);
    eventually(&cluster, || snapshot() > 0);
    cluster.disk(1).leave_room(10 << 10);
    run(&cluster, |client| async move {
        for _ in 0..40 {
            let name = "n".repeat(900);
            ask(&client, LockExtend { name: name.into(), owner: "me".into(), ttl_ms: 1000 }).await;
        }
    });
    // Attempts after 1, 3, 7, 15 and 31 s; the next one would come after 63 s.
    world.run_for(Duration::from_secs(36));
    let before = snapshot();
    cluster.disk(1).leave_room(u64::MAX);
    eventually(&cluster, || status(&cluster, 1) == DiskSpace::Plenty);
    write(60);
    world.run_for(Duration::from_secs(2));
    assert!(snapshot() > before, "180 KB were logged: {} of {before}", snapshot());
    assert_eq!(world.exits(), []);
}

/// Claim: a snapshot from the leader that does not fit is given back, and comes again once there is room.
#[test]
fn a_snapshot_that_does_not_fit_comes_again() {
    let world = World::new(5);
    let cluster = running(&world, Shape { partitions: 1, ..Shape::small(3) });
    cluster.kill(3);
    run(&cluster, |client| async move {
        for number in 0..150 {
            assert!(matches!(ask(&client, set(format!("key-{number}"))).await, Outcome::Set(_)));
        }
    });
    eventually(&cluster, || data_group(&cluster, 1).first_index > 20 && data_group(&cluster, 2).first_index > 20);
    cluster.disk(3).leave_room(200 << 10);
    cluster.start(3);
    world.run_for(Duration::from_secs(10));
    assert!(!is_caught_up(&cluster, 3, 1), "450 KB do not fit");
    cluster.disk(3).leave_room(u64::MAX);
    eventually(&cluster, || is_caught_up(&cluster, 3, 1));
    assert_eq!(unfinished(&cluster, 3), Vec::<PathBuf>::new());
    assert_eq!(world.exits(), []);
}
