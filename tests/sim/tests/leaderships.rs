//! Where groups are led, when a node stops, comes back, or lost what it had: what one group waits for holds up no other one.

use std::path::Path;
use std::time::Duration;

use kahuna_protocol::{GroupId, ShardId};
use kahuna_shards::node::manifest::Manifest;
use kahuna_sim::cluster::{Cluster, Shape};
use kahuna_sim::{NodeId, World};

/// Groups of data: a third of them is placed on each node first.
const PARTITIONS: u32 = 12;
/// Shards of node 1.
const SHARDS: u16 = 2;
const STEP: Duration = Duration::from_millis(50);
/// How long a node looks at one step of a replacement.
const STEP_LIMIT: Duration = Duration::from_secs(1);
/// Longer than whatever comes about by itself.
const LIMIT: Duration = Duration::from_secs(60);

/// Lets the world run until `done`.
fn eventually(cluster: &Cluster, what: &str, done: impl Fn() -> bool) {
    let within = (0..LIMIT.as_millis() / STEP.as_millis()).any(|_| {
        cluster.world().run_for(STEP);
        done()
    });
    assert!(within, "it does not come about that {what}");
}

/// Three nodes, the first of two shards, every group led where it is placed first.
fn cluster(world: &World) -> Cluster {
    let cluster = Cluster::new(world, Shape { partitions: PARTITIONS, snapshot_log_bytes: 1 << 30, ..Shape::small(3) });
    cluster.start_with_shards(1, SHARDS);
    (2..=3).for_each(|node| cluster.start(node));
    eventually(&cluster, "groups are led where they are placed first", || {
        (1..=3).all(|node| placed_first(node).iter().all(|group| leads(&cluster, node, *group)))
    });
    cluster
}

/// The groups that are placed on a node first.
fn placed_first(node: NodeId) -> Vec<GroupId> {
    let is_first = |group: &u32| u64::from((group - 1) % 3) + 1 == node;
    (1..=PARTITIONS).filter(is_first).map(GroupId).collect()
}

fn leads(cluster: &Cluster, node: NodeId, group: GroupId) -> bool {
    cluster.probe(node).is_some_and(|probe| probe.leads_in(group).is_some())
}

/// How many entries the meta group's log has once it knows of all of `many` groups that they are led.
fn entries_until_marked(seed: u64, many: u32) -> usize {
    let world = World::new(seed);
    let cluster = Cluster::new(&world, Shape { partitions: many, snapshot_log_bytes: 1 << 30, ..Shape::small(3) });
    cluster.shape().numbers().for_each(|node| cluster.start(node));
    let meta = || cluster.probe(1).and_then(|probe| probe.meta());
    eventually(&cluster, "all are marked", || {
        meta().is_some_and(|meta| meta.is_placed() && meta.placements().all(|placement| placement.led))
    });
    cluster.probe(1).expect("it runs").log(GroupId::META, 0).len()
}

/// Claim: the meta group learns that groups are led, of those that are led at once with one entry of its log.
#[test]
fn groups_that_are_led_are_marked_so_together() {
    const MANY: u32 = 60;
    const WORLDS: u64 = 4;
    // How many are led at once is up to the elections: of one world it says little.
    let entries: usize = (1..=WORLDS).map(|seed| entries_until_marked(seed, MANY)).sum();
    assert!(entries < WORLDS as usize * MANY as usize / 2, "{entries} entries in {WORLDS} worlds");
}

/// Claim: a node that stops hands each group to whoever takes it, though the one that it asks first does not answer, and the
/// groups do not wait for each other.
#[test]
fn a_stop_hands_over_though_the_first_successor_hangs() {
    let world = World::new(2);
    let cluster = cluster(&world);
    // The successors of node 1's groups are asked in the order in which they are placed: 2, then 3.
    world.pause(2);
    assert!(world.block_on(cluster.stop(1, LIMIT)), "it stops");
    for group in placed_first(1) {
        assert!(leads(&cluster, 3, group), "{group} has no leader when the node has stopped");
    }
    world.resume(2);
    assert_eq!(world.exits(), []);
}

/// Claim: a group that cannot be given back keeps no other one from it.
#[test]
fn a_group_that_cannot_go_back_keeps_no_other() {
    let world = World::new(3);
    let cluster = cluster(&world);
    let groups = placed_first(1);
    cluster.kill(1);
    let led_by =
        |node: NodeId| groups.iter().copied().filter(|&group| leads(&cluster, node, group)).collect::<Vec<_>>();
    eventually(&cluster, "others lead", || led_by(2).len() + led_by(3).len() == groups.len());
    // One node leads several: the one that stays is the first that it looks at.
    let groups = if led_by(2).len() > 1 { led_by(2) } else { led_by(3) };
    assert!(groups.len() > 1, "{groups:?}");
    cluster.start_with_shards(1, SHARDS);
    let is_open = |group: GroupId| {
        let views = cluster.probe(1).map(|probe| probe.groups()).unwrap_or_default();
        views.iter().any(|view| view.group == group)
    };
    eventually(&cluster, "node 1 is back", || groups.iter().all(|group| is_open(*group)));
    let probe = cluster.probe(1).expect("it runs");
    let stays = groups[0];
    world.block_on(async move { probe.end_replica(stays).await });
    eventually(&cluster, "the others go back", || groups[1..].iter().all(|group| leads(&cluster, 1, *group)));
    assert_eq!(world.exits(), []);
}

/// Claim: a replacement that finds no quorum does not slow down the others that the same shard carries out.
/// Method: a node loses the logs of both of its shards, which ask for one group after the other; a group of one of them
/// has no majority.
#[test]
fn a_replacement_without_a_quorum_holds_up_no_other() {
    let world = World::new(4);
    let cluster = cluster(&world);
    cluster.kill(1);
    let disk = cluster.disk(1);
    world.block_on(async {
        let data_dir = Path::new(Cluster::data_dir());
        let manifest = Manifest::read(&disk, data_dir).await.expect("it can be read").expect("it was formatted");
        (0..SHARDS).map(ShardId).for_each(|shard| disk.remove_tree(&manifest.log_dir(data_dir, shard)));
    });
    // Their leader is node 2, and each shard begins with the lowest.
    let others = |stuck: GroupId| {
        let of_other_shard = move |group: &GroupId| group.shard(SHARDS) != stuck.shard(SHARDS);
        (1..=PARTITIONS).map(GroupId).filter(of_other_shard).collect::<Vec<_>>()
    };
    let stuck = (1..=PARTITIONS).map(GroupId).find(|group| leads(&cluster, 2, *group)).expect("some are led by node 2");
    cluster.start_with_shards(1, SHARDS);
    let meta = || cluster.probe(2).and_then(|probe| probe.meta()).expect("the meta group runs");
    let is_pending = |meta: &kahuna_machine::Meta, group: GroupId| {
        meta.replacements().any(|replacement| replacement.group == group && !replacement.finished)
    };
    let asked_for = (0..LIMIT.as_millis()).any(|_| {
        world.run_for(Duration::from_millis(1));
        is_pending(&meta(), stuck)
    });
    assert!(asked_for, "nobody asks for {stuck}");
    // The second replica goes while the leader's lease holds: the leader begins a step, and the step does not end.
    let probe = cluster.probe(3).expect("it runs");
    world.block_on(async move { probe.end_replica(stuck).await });
    let others = others(stuck);
    let finished = || {
        let meta = meta();
        let of_others = meta.replacements().filter(|it| it.finished && others.contains(&it.group));
        of_others.count()
    };
    world.run_for(STEP_LIMIT);
    assert_eq!(finished(), others.len(), "{:?}", meta());
    assert!(is_pending(&meta(), stuck));
    assert_eq!(world.exits(), []);
}
