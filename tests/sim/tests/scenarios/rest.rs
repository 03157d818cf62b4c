//! Groups at rest: nothing is sent for them, and what was lost before they came to rest is made good.

use std::time::Duration;

use kahuna_protocol::{GroupId, ReadLevel};
use kahuna_sim::cluster::{Cluster, Shape};
use kahuna_sim::{NodeId, World};

use crate::stage::{Stage, set};

const STEP: Duration = Duration::from_millis(25);
/// Longer than any election.
const LIMIT: Duration = Duration::from_secs(20);

/// Lets the world run until `done`.
fn eventually(world: &World, what: &str, done: impl Fn() -> bool) {
    let within = (0..LIMIT.as_millis() / STEP.as_millis()).any(|_| {
        world.run_for(STEP);
        done()
    });
    assert!(within, "seed {}: it does not come about that {what}", world.seed());
}

/// How many replicas of data groups lead on a node.
fn led_on(cluster: &Cluster, node: NodeId) -> Vec<GroupId> {
    let groups = cluster.probe(node).map(|probe| probe.groups()).unwrap_or_default();
    groups.iter().filter(|view| view.leading && view.group != GroupId::META).map(|view| view.group).collect()
}

/// What three nodes do in ten seconds in which nobody asks them anything.
fn polls_at_rest(partitions: u32) -> u64 {
    let world = World::new(5);
    let cluster = Cluster::new(&world, Shape { partitions, snapshot_log_bytes: 1 << 30, ..Shape::small(3) });
    cluster.shape().numbers().for_each(|node| cluster.start(node));
    let led = || cluster.shape().numbers().map(|node| led_on(&cluster, node).len()).sum::<usize>();
    eventually(&world, "all groups are led", || led() == partitions as usize);
    world.run_for(Duration::from_secs(5));
    let before = world.polls();
    world.run_for(Duration::from_secs(10));
    world.polls() - before
}

/// Claim: how often tasks run at rest does not depend on how many groups there are.
#[test]
fn groups_at_rest_cost_nothing() {
    let (few, many) = (polls_at_rest(2), polls_at_rest(66));
    // One poll a second for each of the 64 groups more, on three nodes, would be 1,920.
    assert!(many < few + 500, "{few} polls with two groups, {many} with 66");
}

/// Claim: a follower that missed that the last entry is committed is told again, though nothing follows that entry. openraft does
/// so as well when it opens its next stream, by no promise of its own.
/// Method: what the leader sends is held up once the follower has acknowledged the entry, and lost with its connection.
#[test]
fn a_commit_that_was_lost_is_told_again() {
    for seed in 1..=6 {
        let stage = Stage::new(seed, 3);
        let leader = stage.leader_among(&[1, 2, 3]);
        let follower = stage.other_nodes(&[leader])[0];
        let end = stage.last_index(leader) + 1;
        let request = set("last", "value");
        stage.begin(0, &[leader], request, ReadLevel::Linearizable, Duration::from_secs(5));
        let applied = |node: NodeId| stage.view(node).map_or(0, |view| view.applied_index);
        stage.until("applied by the leader", || applied(leader) >= end && stage.last_index(follower) >= end);
        stage.cut(leader, follower);
        // Longer than a commit waits for entries to go with, shorter than it takes to miss a node.
        stage.run_for(20);
        assert!(applied(follower) < end, "seed {seed}: nothing was tested");
        stage.break_connections(leader, follower);
        stage.mend(leader, follower);
        stage.settle();
    }
}

/// Claim: a follower that starts again hears of its leader, and of what is committed, though nobody asks the group anything.
#[test]
fn a_follower_that_is_back_hears_of_a_leader_at_rest() {
    for seed in 1..=6 {
        let stage = Stage::new(seed, 3);
        let leader = stage.leader_among(&[1, 2, 3]);
        let (term, follower) = (stage.term(leader), stage.other_nodes(&[leader])[0]);
        stage.write("last");
        stage.settle();
        stage.run_for(5_000);
        stage.kill(follower);
        stage.start(follower);
        stage.until("back", || stage.view(follower).is_some());
        stage.settle();
        stage.run_for(5_000);
        assert_eq!((stage.leads(leader), stage.term(leader)), (true, term), "seed {seed}: it disturbs nobody");
    }
}

/// Claim: a follower that doubts a leader at rest hears of it again, and disturbs nobody.
#[test]
fn a_follower_that_doubts_hears_of_its_leader() {
    for seed in 1..=6 {
        let stage = Stage::new(seed, 3);
        let leader = stage.leader_among(&[1, 2, 3]);
        let (term, follower) = (stage.term(leader), stage.other_nodes(&[leader])[0]);
        stage.run_for(5_000);
        assert!(stage.believes(follower), "seed {seed}: nothing was tested");
        stage.doubt(follower, leader);
        assert!(!stage.believes(follower), "seed {seed}: nothing was tested");
        stage.until("believed again", || stage.believes(follower));
        assert_eq!((stage.leads(leader), stage.term(leader)), (true, term), "seed {seed}: it disturbs nobody");
    }
}

/// Claim: who believes in a leader that has lost its majority learns so, and lets another one be elected.
/// Method: of five nodes one is dead; the leader reaches one follower alone, without which the others are no majority.
#[test]
fn a_leader_without_a_majority_is_protected_by_nobody() {
    for seed in 1..=6 {
        let stage = Stage::new(seed, 5);
        let old = stage.leader_among(&[1, 2, 3, 4, 5]);
        let [believer, two, three, dead] = stage.other_nodes(&[old])[..] else { unreachable!("five nodes") };
        let term = stage.term(old);
        stage.run_for(5_000);
        stage.kill(dead);
        stage.partition(&[&[old], &[two, three]]);
        let leads_anew = |node: &NodeId| stage.leads(*node) && stage.term(*node) > term;
        stage.until("led in a later term", || [believer, two, three].iter().any(leads_anew));
    }
}

/// Claim: a leader that resigned says so until another one leads; else who did not hear it would believe in it for ever.
/// Method: the successor dies as soon as it is appointed, and the third one is cut off from the leader meanwhile.
#[test]
fn a_resignation_that_was_not_heard_is_repeated() {
    for seed in 1..=6 {
        let stage = Stage::new(seed, 3);
        let old = stage.leader_among(&[1, 2, 3]);
        let [successor, third] = stage.other_nodes(&[old])[..] else { unreachable!("three nodes") };
        let (term, to) = (stage.term(old), stage.view(successor).expect("it runs").replica);
        stage.cut(old, third);
        stage.kill_when_appointed(old, successor, to);
        // Shorter than it takes to notice that nobody is heard.
        stage.mend(old, third);
        stage.break_connections(old, third);
        let leads_anew = |node: &NodeId| stage.leads(*node) && stage.term(*node) > term;
        stage.until("led in a later term", || [old, third].iter().any(leads_anew));
        stage.write("after");
    }
}

/// Claim: a shard that hangs while its node answers loses its leaderships, and nothing else does.
#[test]
fn the_groups_of_a_shard_that_hangs_are_led_elsewhere() {
    let world = World::new(3);
    let cluster = Cluster::new(&world, Shape { partitions: 12, snapshot_log_bytes: 1 << 30, ..Shape::small(3) });
    cluster.start_with_shards(1, 2);
    (2..=3).for_each(|node| cluster.start(node));
    let is_on_hung_shard = |group: &GroupId| group.shard(2).0 == 1;
    let led = |node: NodeId| led_on(&cluster, node);
    eventually(&world, "groups are led where they are placed first", || (1..=3).all(|node| led(node).len() == 4));
    let (hung, going): (Vec<_>, Vec<_>) = led(1).into_iter().partition(is_on_hung_shard);
    assert!(!hung.is_empty() && !going.is_empty(), "{hung:?} {going:?}");
    world.pause_shard(1, 1);
    let elsewhere = |group: &GroupId| led(2).contains(group) || led(3).contains(group);
    eventually(&world, "the groups of the hung shard are led elsewhere", || hung.iter().all(elsewhere));
    assert!(going.iter().all(|group| led(1).contains(group) && !elsewhere(group)), "the other shard leads on");
    world.resume(1);
    eventually(&world, "they go back", || led(1).len() == 4);
    assert_eq!(world.exits(), []);
}
