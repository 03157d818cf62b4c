//! How clusters begin and begin again.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::nodes::Cluster;

/// Claim: all nodes killed at once and started in any order lead all groups again, and hold what they acknowledged.
#[test]
fn a_cold_start_in_any_order_leads_all_groups_again() {
    let mut cluster = Cluster::running(3, 2, 8);
    let names = cluster.names_of_partitions();
    let client = cluster.client();
    for name in &names {
        client.set(name.as_str(), name.as_str(), None).expect("served");
    }
    for (order, pauses) in [([2, 0, 1], false), ([1, 2, 0], true)] {
        (0..3).for_each(|at| cluster.kill(at));
        for (started, at) in order.into_iter().enumerate() {
            cluster.start(at);
            match started {
                // Long enough alone for its own election timers to have run out: it hears of a deadline that passed.
                0 if pauses => {
                    let alone = cluster.get_from(at, "probe-0", std::time::Duration::from_secs(2));
                    assert!(alone.is_err(), "one of three is no quorum: {alone:?}");
                }
                1 if pauses => cluster.wait_until_led(),
                _ => {}
            }
        }
        let client = cluster.client();
        for name in &names {
            let answer = client.get(name.as_str()).expect("led again");
            assert!(matches!(answer, kahuna_client::call::GetAnswer::Value(read) if read.value == name.as_bytes()));
        }
    }
}

/// Claim: a bootstrap that is killed at any point goes on where it was.
/// Method: nodes are killed at seeded moments while they form the cluster, until it is formed.
#[test]
fn a_bootstrap_that_is_killed_resumes() {
    for seed in 1..=4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut cluster = Cluster::new(3, 1, 4);
        (0..3).for_each(|at| cluster.start(at));
        for _ in 0..6 {
            let at = rng.random_range(0..3);
            // The moment is the point of this test: somewhere in the bootstrap, which takes some tens of milliseconds.
            let until = std::time::Instant::now() + std::time::Duration::from_millis(rng.random_range(0..60));
            while std::time::Instant::now() < until {
                std::thread::yield_now();
            }
            cluster.kill(at);
            cluster.start(at);
        }
        cluster.wait_until_led();
        cluster.client().set("after", "the storm", None).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

/// Claim: a node's logs are cut anew for another number of shards, and lose nothing.
#[test]
fn a_node_restarts_with_another_number_of_shards() {
    let mut cluster = Cluster::running(1, 2, 8);
    let names = cluster.names_of_partitions();
    let client = cluster.client();
    for name in &names {
        client.set(name.as_str(), name.as_str(), None).expect("served");
    }
    for shards in [3, 1, 2] {
        cluster.kill(0);
        cluster.start_with_shards(0, shards);
        let client = cluster.client();
        for name in &names {
            let answer = client.get(name.as_str()).unwrap_or_else(|error| panic!("{shards} shards: {error}"));
            assert!(
                matches!(answer, kahuna_client::call::GetAnswer::Value(read) if read.value == name.as_bytes()),
                "{shards} shards: {name}"
            );
        }
        client.set(format!("with-{shards}"), "x", None).expect("served");
    }
}

/// Claim: a node whose data was wiped is not the old voter, and says so; the others go on.
#[test]
fn a_wiped_node_is_not_the_old_voter() {
    let mut cluster = Cluster::running(3, 1, 2);
    cluster.kill(0);
    std::fs::remove_dir_all(&cluster.nodes[0].data_dir).expect("the directory was there");
    cluster.start(0);
    let client = cluster.client();
    client.set("still", "served", None).expect("two of three serve");
    let status = cluster.client_of(0).status(cluster.nodes[0].client_address.clone());
    let status = status.expect("the wiped node answers about itself");
    assert!(status.replicas.is_empty(), "a wiped node must not vote under its old number: {status:?}");
    while !cluster.printed(0).contains("old data directory") {
        std::thread::yield_now();
    }
    // With a second node gone there is no quorum: the wiped one must not complete it.
    cluster.kill(1);
    let options = kahuna_client::CallOptions {
        timeout: Some(std::time::Duration::from_secs(2)),
        ..kahuna_client::CallOptions::default()
    };
    let get = kahuna_protocol::key::KeyGet { key: b"still".to_vec(), revision: None, as_of: None };
    let read = cluster.client().call_with(get, options);
    assert!(read.is_err(), "one old voter of three is no quorum: {read:?}");
}

/// Claim: a data directory of another cluster does not join, and neither side is harmed.
#[test]
fn a_data_directory_of_another_cluster_is_refused() {
    let mut ours = Cluster::running(3, 1, 2);
    ours.client().set("whose", "ours", None).expect("served");
    let mut theirs = Cluster::running(3, 1, 2);
    theirs.client().set("whose", "theirs", None).expect("served");
    ours.kill(2);
    (0..3).for_each(|at| theirs.kill(at));
    // Their third node comes up where ours was; the rest of its own cluster is gone.
    ours.nodes[2].data_dir.clone_from(&theirs.nodes[2].data_dir);
    ours.start(2);
    let answer = ours.client().get("whose").expect("two of three serve");
    assert!(matches!(answer, kahuna_client::call::GetAnswer::Value(read) if read.value == b"ours"));
    let read = ours.get_from(2, "whose", std::time::Duration::from_secs(2));
    assert!(read.is_err(), "a node of another cluster must not answer for this one: {read:?}");
    assert!(ours.printed(2).contains("cluster"), "it says why: {}", ours.printed(2));
}

/// Claim: a node that was started for other clocks than the cluster was made for does not join it; it says which, and joins
/// once it is started for the same.
#[test]
fn a_node_for_other_clocks_does_not_join() {
    let mut cluster = Cluster::new(3, 1, 2);
    (0..2).for_each(|at| cluster.start(at));
    let mut command = cluster.command(2, 1);
    command.args(["--max-clock-skew", "1s"]);
    cluster.spawn(2, command);
    while !cluster.printed(2).contains("the cluster was made for clocks at most 250ms apart") {
        std::thread::yield_now();
    }
    cluster.kill(2);
    cluster.start(2);
    cluster.wait_until_led();
    cluster.client_of(2).set("clocks", "agree", None).expect("it joined");
}

/// Claim: SIGTERM drains: exit code 0, and what was acknowledged is there.
#[test]
fn sigterm_drains() {
    let mut cluster = Cluster::running(3, 2, 4);
    cluster.client().set("drained", "yes", None).expect("served");
    assert_eq!(cluster.terminate(0), Some(0), "{}", cluster.printed(0));
    cluster.client().set("drained", "again", None).expect("two of three serve");
    cluster.start(0);
    let read = cluster.get_from(0, "drained", super::nodes::PATIENCE);
    assert_eq!(read, Ok(Some(b"again".to_vec())));
}

/// Claim: a start that waits for somebody who holds a file of the log says so, and SIGTERM ends it with 0; nothing is lost.
#[test]
fn a_start_that_waits_says_for_what_and_can_be_ended() {
    let mut cluster = Cluster::running(1, 1, 2);
    cluster.client().set("kept", "yes", None).expect("served");
    cluster.kill(0);
    let log = cluster.nodes[0].data_dir.join("logs-0/shard-0/00000000000000000001.seg");
    let file = std::fs::File::open(&log).expect("the first segment");
    flock(&file, FlockOperation::LockExclusive).expect("its writers end");
    cluster.start(0);
    while !cluster.printed(0).contains("waiting for whoever holds") {
        assert!(!cluster.has_ended(0), "{}", cluster.printed(0));
        std::thread::yield_now();
    }
    assert!(cluster.printed(0).contains(&log.display().to_string()), "{}", cluster.printed(0));
    assert_eq!(cluster.terminate(0), Some(0), "{}", cluster.printed(0));
    cluster.start(0);
    drop(file);
    let answer = cluster.client().get("kept").expect("it starts once nobody holds the file");
    assert!(matches!(answer, kahuna_client::call::GetAnswer::Value(read) if read.value == b"yes"));
}

/// Claim: a data directory whose lock file was removed still takes one node only.
#[test]
fn a_removed_lock_file_lets_no_second_node_in() {
    let first = Cluster::running(1, 1, 2);
    std::fs::remove_file(first.nodes[0].data_dir.join("lock")).expect("the node made it");
    let mut second = Cluster::new(1, 1, 2);
    second.nodes[0].data_dir.clone_from(&first.nodes[0].data_dir);
    second.start(0);
    assert_eq!(second.wait_for_exit(0), Some(78), "{}", second.printed(0));
    assert!(second.printed(0).contains("in use by another process"), "{}", second.printed(0));
    first.client().set("still", "served", None).expect("served");
}

/// Claim: of two nodes of two clusters that are started at one moment with one client port, one serves and the other ends
/// with 78, in each of 20 pairs.
#[test]
fn of_two_nodes_on_one_port_one_serves() {
    for round in 0..4 {
        let mut pairs: Vec<[Cluster; 2]> = (0..5).map(|_| [Cluster::new(1, 2, 1), Cluster::new(1, 2, 1)]).collect();
        for pair in &mut pairs {
            pair[1].nodes[0].client_address = pair[0].nodes[0].client_address.clone();
            pair.iter_mut().for_each(|cluster| cluster.start(0));
        }
        for pair in &mut pairs {
            let loser = loop {
                match pair.iter_mut().position(|cluster| cluster.has_ended(0)) {
                    Some(loser) => break loser,
                    // Some child ends, of this pair or another; one that was seen to have ended does not come again.
                    None => drop(waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)),
                }
            };
            let code = pair[loser].wait_for_exit(0);
            assert_eq!(code, Some(78), "round {round}: {}", pair[loser].printed(0));
            pair[1 - loser].wait_until_led();
            assert_eq!(pair[1 - loser].terminate(0), Some(0), "round {round}");
        }
    }
}
