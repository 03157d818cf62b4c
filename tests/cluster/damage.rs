//! Damage to what a node has on disk: the others feed it again, under fresh replica ids, and nothing is lost.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kahuna_client::call::GetAnswer;
use kahuna_protocol::meta::Status;
use kahuna_protocol::{GroupId, ReplicaId};

use super::load::Load;
use super::nodes::{Cluster, PATIENCE};

/// How many requests must be acknowledged between two faults.
const BETWEEN_FAULTS: u64 = 100;
/// How many at the end of a test, so that its history has operations enough that overlap.
const ENOUGH_TO_JUDGE: u64 = 400;

/// The log of a shard that was never lost.
fn first_log(cluster: &Cluster, at: usize, shard: u16) -> PathBuf {
    cluster.nodes[at].data_dir.join("logs-0").join(format!("shard-{shard}"))
}

/// The log that took the place of one in the loss `loss`.
fn log_after(cluster: &Cluster, at: usize, shard: u16, loss: u32) -> PathBuf {
    cluster.nodes[at].data_dir.join("logs-0").join(format!("shard-{shard}.after-{loss}"))
}

fn files_with(dir: &Path, end: &str) -> Vec<PathBuf> {
    let Ok(files) = fs::read_dir(dir) else { return Vec::new() };
    let paths = files.map(|file| file.expect("a readable directory").path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|it| it == end)).collect();
    files.sort();
    files
}

/// Flips a bit of the second batch of a log, as a failing disk would: everything behind it was acknowledged.
fn damage(log: &Path) {
    let oldest = files_with(log, "seg").into_iter().next().expect("a log has a segment");
    let file = File::options().read(true).write(true).open(&oldest).expect("it is there");
    let offset = 2 * 4096 + 5;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("a segment is longer");
    file.write_all_at(&[byte[0] ^ 16], offset).expect("the file takes bytes");
}

fn status(cluster: &Cluster, at: usize) -> Option<Status> {
    let client = cluster.client_of(at);
    client.status(cluster.nodes[at].client_address.clone()).ok()
}

/// Replica ids by group.
fn ids(status: &Status) -> BTreeMap<GroupId, ReplicaId> {
    status.replicas.iter().map(|replica| (replica.group, replica.replica)).collect()
}

/// Waits until what a node says of itself is as wanted.
fn wait_for(cluster: &Cluster, at: usize, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let started = Instant::now();
    loop {
        let now = status(cluster, at);
        if let Some(status) = now.as_ref().filter(|status| wanted(status)) {
            return status.clone();
        }
        let printed = cluster.printed(at);
        assert!(started.elapsed() < PATIENCE, "not {what}: {now:?}\n{printed}");
        std::thread::yield_now();
    }
}

/// Waits until all of a node's replicas vote again; those that `lost` says under ids that none of `before` had.
fn wait_until_healed(
    cluster: &Cluster,
    at: usize,
    before: &[BTreeMap<GroupId, ReplicaId>],
    lost: impl Fn(GroupId) -> bool,
) {
    let groups = before[0].len();
    let healed = wait_for(cluster, at, "healed", |status| {
        let fresh =
            |(group, id): (GroupId, ReplicaId)| !lost(group) || before.iter().all(|ids| ids.get(&group) != Some(&id));
        let missing = groups - ids(status).len();
        assert!(missing == 0 || !status.waiting.is_empty(), "says that it serves, {missing} groups are not there");
        let healed = cluster.printed(at).contains("all its lost replicas are replaced");
        healed && status.waiting.is_empty() && ids(status).len() == groups && ids(status).into_iter().all(fresh)
    });
    for (group, id) in ids(&healed) {
        assert!(lost(group) || before[0][&group] == id, "group {group} was not lost, and is replica {id} now");
    }
}

fn start_with_short_logs(cluster: &mut Cluster, at: usize) {
    let mut command = cluster.command(at, 2);
    command.args(["--snapshot-log-size", "64KiB"]);
    cluster.spawn(at, command);
}

/// Claim: a node whose log was damaged comes back by itself: the groups of that log under fresh ids, the others as they
/// were, and what it holds then counts for a quorum. Nothing acknowledged is lost, whoever dies next.
/// Method: clients record what they see all the while. The log is that of the data groups alone, then that of the meta
/// group too, where the groups are fed by snapshots.
#[test]
fn a_node_with_a_damaged_log_is_fed_again() {
    for (shard, seed) in [(1, 11), (0, 12)] {
        let mut cluster = Cluster::new(3, 2, 4);
        (0..3).for_each(|at| start_with_short_logs(&mut cluster, at));
        cluster.wait_until_led();
        let load = Load::start(&cluster, 4, seed);
        load.progress.wait_for(5 * BETWEEN_FAULTS);
        let before = ids(&status(&cluster, 0).expect("it runs"));
        cluster.kill(0);
        load.progress.wait_for(BETWEEN_FAULTS);
        damage(&first_log(&cluster, 0, shard));
        start_with_short_logs(&mut cluster, 0);
        load.progress.wait_for(BETWEEN_FAULTS);
        wait_until_healed(&cluster, 0, std::slice::from_ref(&before), |group| group.0 % 2 == u32::from(shard));
        assert!(cluster.printed(0).contains("damaged at offset 8192"), "{}", cluster.printed(0));
        assert!(first_log(&cluster, 0, shard).is_dir(), "the damaged log is kept for the operator");
        for (group, replica) in before.into_iter().filter(|(group, _)| group.0 % 2 == u32::from(shard)) {
            let snapshots = cluster.nodes[0].data_dir.join(format!("snapshots/group-{group}-replica-{replica}"));
            assert_eq!(files_with(&snapshots, "snap"), Vec::<PathBuf>::new());
        }
        // From now on two copies are all there is, and one of them is the new one.
        cluster.kill(1);
        load.progress.wait_for(BETWEEN_FAULTS);
        cluster.kill(0);
        start_with_short_logs(&mut cluster, 0);
        load.progress.wait_for(BETWEEN_FAULTS);
        load.finish(&mut cluster);
    }
}

/// Claim: a log that is lost again while its groups are being fed gives way to another one, and no id comes back.
#[test]
fn a_log_that_is_lost_twice_is_replaced_twice() {
    let mut cluster = Cluster::running(3, 1, 12);
    let load = Load::start(&cluster, 4, 13);
    load.progress.wait_for(BETWEEN_FAULTS);
    let first = ids(&status(&cluster, 0).expect("it runs"));
    cluster.kill(0);
    damage(&first_log(&cluster, 0, 0));
    cluster.start(0);
    // In the middle: some have new ids, some none.
    let begun = wait_for(&cluster, 0, "being fed", |status| status.replicas.len() >= 3);
    cluster.kill(0);
    load.progress.wait_for(BETWEEN_FAULTS);
    fs::remove_dir_all(log_after(&cluster, 0, 0, 1)).expect("the second log is there");
    cluster.start(0);
    wait_until_healed(&cluster, 0, &[first, ids(&begun)], |_| true);
    cluster.kill(2);
    load.progress.wait_for(ENOUGH_TO_JUDGE);
    load.finish(&mut cluster);
}

/// Claim: a log that lost all its batches, though its files are there, is not taken for a new one: its replicas voted and
/// acknowledged, and do not come back under their ids.
#[test]
fn a_log_full_of_zeros_is_replaced() {
    let mut cluster = Cluster::running(3, 1, 2);
    let client = cluster.client();
    client.set("probe", "acknowledged", None).expect("served");
    let before = ids(&status(&cluster, 0).expect("it runs"));
    assert_eq!(cluster.terminate(0), Some(0));
    for segment in files_with(&first_log(&cluster, 0, 0), "seg") {
        let file = File::options().write(true).open(&segment).expect("it is there");
        let length = file.metadata().expect("our own file").len();
        file.set_len(4096).and_then(|()| file.set_len(length)).expect("the file takes lengths");
    }
    cluster.start(0);
    wait_until_healed(&cluster, 0, &[before], |_| true);
    cluster.kill(1);
    let read = client.get("probe").expect("two copies are a majority");
    assert!(matches!(&read, GetAnswer::Value(read) if read.value == b"acknowledged"), "{read:?}");
}

/// Claim: a log that is another shard's stops the node, which says how it comes back; done as said, it does.
#[test]
fn a_log_in_the_wrong_place_is_put_back_or_replaced() {
    let mut cluster = Cluster::running(3, 2, 2);
    let before = ids(&status(&cluster, 0).expect("it runs"));
    assert_eq!(cluster.terminate(0), Some(0));
    let (log, other, away) = (first_log(&cluster, 0, 1), first_log(&cluster, 0, 0), cluster.dir().join("away"));
    fs::rename(&log, &away).and_then(|()| fs::create_dir(&log)).expect("our own directory");
    for segment in files_with(&other, "seg") {
        fs::copy(&segment, log.join(segment.file_name().expect("a file"))).expect("there is room");
    }
    cluster.start(0);
    assert_eq!(cluster.wait_for_exit(0), Some(65), "{}", cluster.printed(0));
    let said = format!("move {} away and start again: the other nodes feed its groups", log.display());
    assert!(cluster.printed(0).contains(&said), "{}", cluster.printed(0));

    fs::remove_dir_all(&log).and_then(|()| fs::rename(&away, &log)).expect("our own directory");
    cluster.start(0);
    let back =
        wait_for(&cluster, 0, "back", |status| status.waiting.is_empty() && status.replicas.len() == before.len());
    assert_eq!(ids(&back), before, "nothing was lost");
    assert_eq!(cluster.terminate(0), Some(0));
    fs::rename(&log, &away).expect("our own directory");
    cluster.start(0);
    wait_until_healed(&cluster, 0, &[before], |group| group == GroupId(1));
}

/// Claim: logs are not cut anew for another number of shards while one is damaged: the node says so, and changes nothing.
#[test]
fn a_damaged_log_is_not_cut_anew() {
    let mut cluster = Cluster::running(1, 2, 2);
    cluster.client().set("probe", "acknowledged", None).expect("served");
    assert_eq!(cluster.terminate(0), Some(0));
    damage(&first_log(&cluster, 0, 1));
    cluster.start_with_shards(0, 1);
    assert_eq!(cluster.wait_for_exit(0), Some(65), "{}", cluster.printed(0));
    assert!(cluster.printed(0).contains("start with --shards 2"), "{}", cluster.printed(0));
    assert!(first_log(&cluster, 0, 1).is_dir() && !cluster.nodes[0].data_dir.join("logs-1").exists());
}

/// Claim: a group whose snapshot is damaged is fed again; the other groups of that log stay as they are.
#[test]
fn a_group_with_a_damaged_snapshot_is_fed_again() {
    let mut cluster = Cluster::new(3, 2, 4);
    (0..3).for_each(|at| start_with_short_logs(&mut cluster, at));
    cluster.wait_until_led();
    let client = cluster.client();
    let fed = GroupId(3);
    let name = cluster.names_of_partitions().swap_remove(2);
    for number in 0..500 {
        client.set(name.as_str(), vec![number as u8; 1024], None).expect("served");
    }
    let load = Load::start(&cluster, 4, 14);
    let snapshots = |cluster: &Cluster, group: GroupId, replica: ReplicaId| {
        let dir = cluster.nodes[0].data_dir.join(format!("snapshots/group-{group}-replica-{replica}"));
        files_with(&dir, "snap")
    };
    let purged = wait_for(&cluster, 0, "purging", |status| {
        status.replicas.iter().any(|it| it.group == fed && it.first_index > 400)
    });
    let before = ids(&purged);
    cluster.kill(0);
    for snapshot in snapshots(&cluster, fed, before[&fed]) {
        let file = File::options().write(true).open(&snapshot).expect("it is there");
        file.write_all_at(&[255; 16], 100).expect("the file takes bytes");
    }
    start_with_short_logs(&mut cluster, 0);
    wait_until_healed(&cluster, 0, &[before], |group| group == fed);
    cluster.kill(1);
    load.progress.wait_for(ENOUGH_TO_JUDGE);
    load.finish(&mut cluster);
}

/// Claim: a node that is the whole cluster stops at damage, says where it is and what can be done.
#[test]
fn a_node_alone_stops_at_damage() {
    let mut cluster = Cluster::running(1, 1, 2);
    let client = cluster.client();
    for number in 0..20 {
        client.set(format!("key-{number}"), "value", None).expect("served");
    }
    cluster.kill(0);
    let log = first_log(&cluster, 0, 0);
    damage(&log);
    cluster.start(0);
    assert_eq!(cluster.wait_for_exit(0), Some(65), "{}", cluster.printed(0));
    let segment = files_with(&log, "seg").remove(0).display().to_string();
    for word in [segment.as_str(), "offset 8192", "kahuna recover --data-dir"] {
        assert!(cluster.printed(0).contains(word), "it does not say {word}: {}", cluster.printed(0));
    }
    assert!(!log_after(&cluster, 0, 0, 1).exists(), "nothing was put in the place of the only copy");
}

/// Claim: without a healthy majority nobody is fed, nothing is served, and nothing is made up; the nodes say what they wait for.
#[test]
fn without_a_majority_lost_logs_stay_lost() {
    let mut cluster = Cluster::running(3, 1, 2);
    let client = cluster.client();
    client.set("probe", "acknowledged", None).expect("served");
    (0..3).for_each(|at| cluster.kill(at));
    for at in [0, 1] {
        damage(&first_log(&cluster, at, 0));
    }
    (0..3).for_each(|at| cluster.start(at));
    for at in [0, 1] {
        let status = wait_for(&cluster, at, "at a loss", |status| status.waiting.contains("kahuna recover"));
        assert_eq!(status.replicas, [], "no replica may be made up");
    }
    for at in 0..3 {
        let read = cluster.get_from(at, "probe", Duration::from_secs(1));
        assert!(read.is_err(), "node {at} answered without a quorum: {read:?}");
    }
}
