//! The last node of a cluster that is gone.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kahuna_client::call::{GetAnswer, SetAnswer};
use kahuna_protocol::GroupId;

use super::nodes::Cluster;

/// The last index of every group on a node.
fn last_indices(cluster: &Cluster, at: usize) -> Vec<(GroupId, u64)> {
    let status = cluster.client_of(at).status(cluster.nodes[at].client_address.clone()).expect("the node answers");
    status.replicas.iter().map(|replica| (replica.group, replica.last_index)).collect()
}

fn recover(data_dir: &Path, flag: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kahuna"));
    command.args(["recover", flag, "-o", "json", "--data-dir"]).arg(data_dir);
    let output = command.output().expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    text
}

fn revision(answer: SetAnswer) -> u64 {
    match answer {
        SetAnswer::Set(set) => set.revision,
        other => panic!("{other:?}"),
    }
}

/// Claim: with two of three nodes lost for ever, what the third one holds becomes a cluster of its own that serves all of it,
/// whatever its flags say of the old peers; nodes of the old cluster, with their data or wiped, are no part of it.
#[test]
fn the_last_node_of_three_goes_on_alone() {
    let mut cluster = Cluster::running(3, 2, 4);
    let names = cluster.names_of_partitions();
    let client = cluster.client();
    let mut highest = 0;
    for round in 0..5 {
        for name in &names {
            let set = client.set(name.as_str(), format!("{name} {round}"), None).expect("served");
            highest = highest.max(revision(set));
        }
    }
    while (0..2).any(|at| last_indices(&cluster, at) != last_indices(&cluster, 2)) {
        std::thread::yield_now();
    }
    (0..3).for_each(|at| cluster.kill(at));
    fs::remove_dir_all(&cluster.nodes[0].data_dir).expect("it is there");

    let looked = recover(&cluster.nodes[2].data_dir, "--dry-run");
    assert!(looked.contains("\"nothing_lost\":true"), "{looked}");
    let recovered = recover(&cluster.nodes[2].data_dir, "--yes");
    assert!(recovered.starts_with("{\"outcome\":\"recovered\""), "{recovered}");

    // With the same flags as ever, the list of its old peers among them.
    cluster.start(2);
    let client = cluster.client_of(2);
    for name in &names {
        let answer = client.get(name.as_str()).expect("it serves alone");
        assert!(
            matches!(&answer, GetAnswer::Value(read) if read.value == format!("{name} 4").as_bytes()),
            "{answer:?}"
        );
        let set = revision(client.set(name.as_str(), "alone", None).expect("it serves alone"));
        assert!(set >= 1 << 48 && set > highest, "{set} after {highest}");
    }
    // The one that was wiped finds a cluster that does not know it; the one with the old data finds another cluster.
    cluster.start(0);
    while !cluster.printed(0).contains("does not know this data directory") {
        std::thread::yield_now();
    }
    cluster.start(1);
    while !cluster.printed(1).contains("belongs to cluster") {
        std::thread::yield_now();
    }
    for at in 0..2 {
        let read = cluster.get_from(at, &names[0], Duration::from_secs(1));
        assert!(read.is_err(), "node {at} is no part of the new cluster: {read:?}");
    }
    for name in &names {
        let answer = cluster.client_of(2).get(name.as_str()).expect("it still serves");
        assert!(matches!(&answer, GetAnswer::Value(read) if read.value == b"alone"), "{answer:?}");
    }
    let status = cluster.client_of(2).status(cluster.nodes[2].client_address.clone()).expect("it answers");
    assert_eq!((status.replicas.len(), status.peers_alive), (5, vec![]), "all groups, no peer");
}

/// Claim: a node that gave its damaged log up, and then found nobody to feed it, gets the whole part of that log back.
#[test]
fn a_log_that_was_given_up_is_recovered() {
    let mut cluster = Cluster::running(3, 1, 1);
    let client = cluster.client();
    for number in 0..60 {
        client.set(format!("key-{number}"), "value", None).expect("served");
    }
    while (0..2).any(|at| last_indices(&cluster, at) != last_indices(&cluster, 2)) {
        std::thread::yield_now();
    }
    (0..3).for_each(|at| cluster.kill(at));
    let segment = cluster.nodes[2].data_dir.join("logs-0/shard-0/00000000000000000001.seg");
    let mut bytes = fs::read(&segment).expect("the log");
    let batches: Vec<usize> =
        (4096..bytes.len()).step_by(4096).filter(|&at| bytes[at..].starts_with(b"KWB1")).collect();
    bytes[batches[batches.len() * 2 / 3] + 70] ^= 1;
    fs::write(&segment, bytes).expect("the log");

    cluster.start(2);
    while !cluster.printed(2).contains("The other nodes feed") {
        std::thread::yield_now();
    }
    let status = || cluster.client_of(2).status(cluster.nodes[2].client_address.clone()).expect("it answers");
    while !status().waiting.contains("lost") {
        std::thread::yield_now();
    }
    cluster.kill(2);
    let recovered = recover(&cluster.nodes[2].data_dir, "--yes");
    assert!(recovered.contains("\"given_up\":true") && recovered.contains("\"nothing_lost\":false"), "{recovered}");
    cluster.start(2);
    let client = cluster.client_of(2);
    let found = |number: i32| matches!(client.get(format!("key-{number}")).expect("served"), GetAnswer::Value(_));
    let kept = (0..60).take_while(|number| found(*number)).count();
    assert!((10..60).contains(&kept) && (kept as i32..60).all(|number| !found(number)), "{kept} kept");
}
