//! Nodes that start again at other addresses are found: one by one without a word to the others, all at once with a list.

use std::collections::BTreeMap;
use std::time::Duration;

use kahuna_protocol::key::{Condition, KeySet};
use kahuna_protocol::{Outcome, Request};
use kahuna_shards::env::Env;
use kahuna_shards::env::local::LocalOneshot;
use kahuna_sim::cluster::{Cluster, Shape, SimClient};
use kahuna_sim::{Sim, World};

/// How long a change may take until all know of it, in virtual time.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

fn set(key: String) -> Request {
    KeySet { key: key.into(), value: b"v".to_vec(), ttl_ms: None, condition: Condition::default(), no_history: false }
        .into()
}

/// A client that begins now writes to every partition.
fn serves(cluster: &Cluster, what: &str) {
    let (done, ended) = LocalOneshot::pair();
    let endpoints = cluster.shape().endpoints();
    cluster.world().spawn_on(Cluster::client_node(0), async move {
        let client = SimClient::new(endpoints);
        let mut outcomes = Vec::new();
        for number in 0..12 {
            outcomes.push(client.call(set(format!("key-{number}")), PATIENCE).await.map(|reply| reply.outcome));
        }
        let _ = done.send(outcomes);
    });
    let outcomes = cluster.world().block_on(ended).expect("the client ends");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Outcome::Set(_)))), "{what}: {outcomes:?}");
}

/// Whether every node runs, and has applied on which port every node listens for its peers.
fn know_places(cluster: &Cluster) -> bool {
    let ports = cluster.peer_ports();
    cluster.shape().numbers().all(|node| {
        cluster.probe(node).is_some_and(|probe| {
            ports.iter().all(|(of, port)| probe.place_of(*of).is_some_and(|place| place.ends_with(&format!(":{port}"))))
        })
    })
}

fn all_know_places(cluster: &Cluster, what: &str) {
    let known = cluster.world().block_on(async {
        let until = Sim::boot_clock() + PATIENCE;
        while !know_places(cluster) && Sim::boot_clock() < until {
            Sim::sleep(LOOK_EVERY).await;
        }
        know_places(cluster)
    });
    assert!(known, "{what}: not all know where all are");
}

fn formed(world: &World) -> Cluster {
    let cluster = Cluster::new(world, Shape::small(3));
    cluster.shape().numbers().for_each(|node| cluster.start_with_shards(node, 2));
    serves(&cluster, "at first");
    all_know_places(&cluster, "at first");
    cluster
}

/// With each node gone in turn the other two serve: they find each other.
fn every_pair_serves(cluster: &Cluster) {
    for gone in cluster.shape().numbers() {
        cluster.kill(gone);
        serves(cluster, &format!("without node {gone}"));
        cluster.start(gone);
        all_know_places(cluster, &format!("node {gone} is back"));
    }
}

/// Claim: nodes that listen for their peers elsewhere, one after the other, with the list of before or without one, are found
/// by all others.
#[test]
fn nodes_that_move_one_by_one_are_found() {
    for with_list in [true, false] {
        let world = World::new(1);
        let cluster = formed(&world);
        for node in cluster.shape().numbers() {
            let listed = if with_list { cluster.peer_ports() } else { BTreeMap::new() };
            cluster.kill(node);
            cluster.move_peers(node);
            cluster.start_with_peers(node, &listed);
            all_know_places(&cluster, &format!("node {node} moved, list {with_list}"));
        }
        every_pair_serves(&cluster);
        assert_eq!(world.exits(), []);
    }
}

/// Claim: nodes that all move at once find each other by their lists, and need none at the next start.
#[test]
fn nodes_that_all_move_at_once_are_found_and_need_no_list_later() {
    let world = World::new(2);
    let cluster = formed(&world);
    cluster.shape().numbers().for_each(|node| cluster.kill(node));
    cluster.shape().numbers().for_each(|node| cluster.move_peers(node));
    cluster.shape().numbers().for_each(|node| cluster.start(node));
    all_know_places(&cluster, "all moved");
    every_pair_serves(&cluster);
    cluster.shape().numbers().for_each(|node| cluster.kill(node));
    cluster.shape().numbers().for_each(|node| cluster.start_with_peers(node, &BTreeMap::new()));
    all_know_places(&cluster, "without lists");
    serves(&cluster, "without lists");
    assert_eq!(world.exits(), []);
}
