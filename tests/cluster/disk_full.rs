//! Real file systems that fill up: small ext4 images on loop devices. That needs root; without it the tests say so and
//! pass.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use kahuna_client::blocking::Client;
use kahuna_client::call::{DeleteAnswer, GetAnswer, ReleaseAnswer, SetAnswer};
use kahuna_client::{ClientError, Options};
use kahuna_protocol::ErrorCode;

use super::mounts::Mount;
use super::nodes::{Cluster, PATIENCE};

/// How long a write that shall be refused is repeated.
const BRIEF: Duration = Duration::from_secs(1);

/// A file system for each node, below which its data goes; `None` where this process may not mount.
fn mounts(cluster: &mut Cluster) -> Option<Vec<Mount>> {
    let dir = cluster.dir().to_owned();
    let mounted = cluster.nodes.iter_mut().map(|node| {
        let at = dir.join(format!("disk-{}", node.id));
        node.data_dir = at.join("data");
        Mount::new(&dir.join(format!("disk-{}.img", node.id)), &at)
    });
    match mounted.collect() {
        Ok(mounts) => Some(mounts),
        Err(why) => {
            eprintln!("skipped: this needs root and loop devices: {why}");
            None
        }
    }
}

fn brief(cluster: &Cluster) -> Client {
    Client::new(Options { timeout: BRIEF, ..Options::new(cluster.endpoints()) }).expect("a client starts")
}

fn expect_all(client: &Client, count: usize, value: &[u8]) {
    for number in 0..count {
        let answer = client.get(format!("key/{number}")).expect("reads are served");
        assert!(matches!(answer, GetAnswer::Value(read) if read.value == value), "key/{number} was acknowledged");
    }
}

/// Claim: three nodes on disks that fill up refuse what grows, serve the rest, lose nothing, live, open again while the
/// disks are full, and take writes by themselves once there is room.
#[test]
fn nodes_live_through_full_disks() {
    let mut cluster = Cluster::new(3, 1, 2);
    let Some(mounts) = mounts(&mut cluster) else { return };
    (0..3).for_each(|at| cluster.start(at));
    cluster.wait_until_led();
    let (patient, hurried) = (cluster.client(), brief(&cluster));
    patient.lock_acquire("held", "me", Duration::from_secs(600)).expect("served");
    let fillers: Vec<PathBuf> = mounts.iter().map(|mount| mount.fill("filler", 3 << 20)).collect();
    let value = vec![7; 20_000];
    let mut acknowledged = 0;
    let refusal = loop {
        match hurried.set(format!("key/{acknowledged}"), value.clone(), None) {
            Ok(SetAnswer::Set(_)) => acknowledged += 1,
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
        assert!(acknowledged < 3000, "the disks never were full");
    };
    let ClientError::Refused(refusal) = refusal else { panic!("a refusal was expected: {refusal}") };
    assert_eq!(refusal.code(), ErrorCode::DiskFull, "{}", refusal.text);
    expect_all(&patient, acknowledged, &value);
    let last = acknowledged - 1;
    assert!(matches!(patient.delete(format!("key/{last}")), Ok(DeleteAnswer::Deleted(_))));
    assert!(matches!(patient.lock_release("held", "me"), Ok(ReleaseAnswer::Released(_))));

    let full: Vec<usize> = (0..3).filter(|&at| cluster.printed(at).contains(": it lives on its reserve")).collect();
    assert!(full.len() > 1, "a majority is full: {full:?}");

    for (at, mount) in mounts.iter().enumerate() {
        cluster.kill(at);
        mount.fill("more", 0);
        cluster.start(at);
    }
    cluster.wait_until_led();
    expect_all(&cluster.client(), last, &value);

    for (mount, filler) in mounts.iter().zip(fillers) {
        fs::remove_file(filler).expect("it was made");
        fs::remove_file(mount.at.join("more")).expect("it was made");
    }
    let client = Client::new(Options { timeout: PATIENCE, ..Options::new(cluster.endpoints()) }).expect("a client");
    for number in 0..100 {
        client.set(format!("after/{number}"), value.clone(), None).expect("there is room again");
    }
    expect_all(&client, last, &value);
}

/// Claim: a node that has used up its reserve stops when it is told to, with exit code 0, and keeps what it acknowledged.
#[test]
fn an_exhausted_node_stops_as_it_is_told() {
    let mut cluster = Cluster::new(1, 1, 1);
    let Some(mounts) = mounts(&mut cluster) else { return };
    cluster.start(0);
    cluster.wait_until_led();
    let (patient, hurried) = (cluster.client(), brief(&cluster));
    // Noise, and enough of it that no snapshot finds room, which would shorten the log.
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let value: Vec<u8> = (0..50_000).map(|_| noise()).collect();
    for number in 0..20 {
        patient.set(format!("key/{number}"), value.clone(), None).expect("there is room");
    }
    patient.lock_acquire("held", "me", Duration::from_secs(600)).expect("there is room");
    let filler = mounts[0].fill("filler", 0);
    let extend = || hurried.lock_extend("held", "me", Duration::from_secs(600));
    // One that finds no room waits and is told nothing; whoever comes behind it is refused.
    let is_refused = || extend().is_err_and(|error| error.to_string().contains("no write can be taken"));
    assert!((0..5000).any(|_| is_refused()), "each takes a block of the log: {}", cluster.printed(0));
    assert_eq!(cluster.terminate(0), Some(0), "{}", cluster.printed(0));
    cluster.start(0);
    assert_eq!(cluster.wait_for_exit(0), Some(78), "{}", cluster.printed(0));
    assert!(cluster.printed(0).contains("free some space there and start again"), "{}", cluster.printed(0));
    fs::remove_file(filler).expect("it was made");
    cluster.start(0);
    cluster.wait_until_led();
    let client = cluster.client();
    expect_all(&client, 20, &value);
    assert!(matches!(client.lock_release("held", "me"), Ok(ReleaseAnswer::Released(_))));
}

/// Claim: a fresh node on a disk that is too small says how much it needs.
#[test]
fn a_fresh_node_says_how_much_room_it_needs() {
    let mut cluster = Cluster::new(1, 1, 1);
    let Some(mounts) = mounts(&mut cluster) else { return };
    mounts[0].fill("filler", 2 << 20);
    cluster.start(0);
    assert_eq!(cluster.wait_for_exit(0), Some(78), "{}", cluster.printed(0));
    assert!(cluster.printed(0).contains("a fresh node's logs take 8 MiB"), "{}", cluster.printed(0));
}
