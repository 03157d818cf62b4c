//! Snapshots on their way between whole nodes whose sender dies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kahuna_protocol::key::{Condition, KeySet};
use kahuna_protocol::{GroupId, Outcome};
use kahuna_shards::env::local::LocalOneshot;
use kahuna_sim::cluster::{Cluster, GroupView, Shape, SimClient};
use kahuna_sim::{NodeId, World};
use kahuna_wal::Disk;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const GROUP: GroupId = GroupId(1);
const KEYS: u64 = 150;
const VALUE_BYTES: usize = 3000;
/// Longer than whatever comes about by itself.
const LIMIT: Duration = Duration::from_secs(60);

/// Sets keys to noise, which snapshots cannot pack.
fn write(cluster: &Cluster) {
    let (done, ended) = LocalOneshot::pair();
    let endpoints = cluster.shape().endpoints();
    cluster.world().spawn_on(Cluster::client_node(0), async move {
        let client = SimClient::new(endpoints);
        for number in 0..KEYS {
            let mut value = vec![0; VALUE_BYTES];
            SmallRng::seed_from_u64(number).fill_bytes(&mut value);
            let key = format!("key-{number}").into();
            let set = KeySet { key, value, ttl_ms: None, condition: Condition::default(), no_history: true };
            let reply = client.call(set, LIMIT).await.expect("it is served");
            assert!(matches!(reply.outcome, Outcome::Set(_)), "{reply:?}");
        }
        let _ = done.send(());
    });
    cluster.world().block_on(ended).expect("all is written");
}

fn view(cluster: &Cluster, node: NodeId) -> Option<GroupView> {
    cluster.probe(node)?.groups().into_iter().find(|view| view.group == GROUP)
}

/// Lets the world run, in steps, until `done`.
fn eventually<T>(cluster: &Cluster, step: Duration, done: impl Fn() -> Option<T>) -> T {
    let steps = LIMIT.as_nanos() / step.as_nanos();
    let found = (0..steps).find_map(|_| {
        cluster.world().run_for(step);
        done()
    });
    found.expect("it comes about")
}

/// The unfinished files of transfers to `node`, and how long they are.
fn incoming(cluster: &Cluster, node: NodeId) -> Vec<(PathBuf, usize)> {
    let disk = cluster.disk(node);
    let mut found = Vec::new();
    for dir in disk.directories(&Path::new(Cluster::data_dir()).join("snapshots")) {
        let disk = disk.clone();
        let files = cluster.world().block_on(async move { disk.list(&dir).await.map(|files| (dir, files)) });
        let (dir, files) = files.expect("it is there");
        // Index, term and transfer.
        let ours = files.into_iter().filter(|file| file.name.ends_with(".tmp") && file.name.split('-').count() == 3);
        found.extend(ours.map(|file| (dir.join(file.name), file.len as usize)));
    }
    found
}

/// Claim: when the sender of a snapshot dies amid the transfer, whatever part has come, the next leader sends its own from
/// the start, the receiver ends with the same state, and nothing is left of the first one.
#[test]
fn a_transfer_whose_sender_dies_begins_again_with_the_next_leader() {
    for (seed, part, power) in [(1, 1, false), (2, 128 << 10, true), (3, 256 << 10, false), (4, 1, true)] {
        let world = World::new(seed);
        let cluster = Cluster::new(&world, Shape { partitions: 1, ..Shape::small(3) });
        cluster.shape().numbers().for_each(|node| cluster.start(node));
        eventually(&cluster, Duration::from_millis(50), || view(&cluster, 3).filter(|view| view.applied_index > 0));
        cluster.kill(3);
        write(&cluster);
        let purged = |node| view(&cluster, node).is_some_and(|view| view.first_index > 20);
        eventually(&cluster, Duration::from_millis(50), || (purged(1) && purged(2)).then_some(()));

        cluster.start(3);
        let begun = || incoming(&cluster, 3).into_iter().find(|&(_, bytes)| bytes >= part);
        let (file, bytes) = eventually(&cluster, Duration::from_micros(100), begun);
        let leads = |node| view(&cluster, node).is_some_and(|view| view.leading);
        let sender = (1..=2).find(|&node| leads(node)).expect("it sends");
        assert!(bytes < KEYS as usize * VALUE_BYTES, "seed {seed}: {bytes} bytes are not all");
        if power {
            cluster.cut_power(sender);
        } else {
            cluster.kill(sender);
        }

        let other = 3 - sender;
        let agree = |one, two| {
            let hash = |node| cluster.probe(node)?.hash(GROUP);
            (hash(one)? == hash(two)?).then_some(())
        };
        eventually(&cluster, Duration::from_millis(50), || agree(3, other));
        assert!(view(&cluster, 3).is_some_and(|view| view.snapshot_index > 0), "seed {seed}: it was installed");
        cluster.start(sender);
        eventually(&cluster, Duration::from_millis(50), || agree(3, sender));
        assert!(incoming(&cluster, 3).is_empty(), "seed {seed}: {} is left", file.display());
        assert_eq!(world.exits(), [], "seed {seed}");
    }
}
