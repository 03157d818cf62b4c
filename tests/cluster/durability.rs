//! What an acknowledgement cost, and what it says about time.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kahuna_client::call::GetAnswer;

use super::nodes::Cluster;

/// Durable writes of all nodes together, as they count them themselves.
fn log_flushes(cluster: &Cluster) -> u64 {
    let client = cluster.client();
    let endpoints = cluster.endpoints().into_iter();
    endpoints.map(|endpoint| client.status(endpoint).expect("every node answers").log_flushes).sum()
}

/// Flushes that the device below `path` has carried out (field 16 of its `stat`; see the kernel's
/// `Documentation/block/stat.rst`); `None` where the file system is not on a device of its own.
fn device_flushes(path: &Path) -> Option<u64> {
    let device = fs::metadata(path).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    stat.split_whitespace().nth(15)?.parse().ok()
}

/// Claim: at one request in flight, an acknowledged set cost durable writes on at least two of three nodes.
/// Method: the nodes' own counts, and the device's, which other programs can only make larger.
#[test]
fn an_acknowledged_set_was_flushed_by_a_majority() {
    const SETS: u64 = 200;
    let cluster = Cluster::running(3, 1, 1);
    let client = cluster.client();
    client.set("flushed", "first", None).expect("served");
    let before = (log_flushes(&cluster), device_flushes(cluster.dir()));
    for number in 0..SETS {
        client.set("flushed", number.to_string(), None).expect("served");
    }
    let after = (log_flushes(&cluster), device_flushes(cluster.dir()));
    let counted = after.0 - before.0;
    assert!(counted >= 2 * SETS, "{counted} durable writes for {SETS} acknowledged sets");
    match (before.1, after.1) {
        (Some(before), Some(after)) => {
            assert!(after - before >= 2 * SETS, "{} device flushes for {SETS} acknowledged sets", after - before);
        }
        _ => eprintln!("the device below {} does not count its flushes", cluster.dir().display()),
    }
}

/// Claim: stamps exceed every applied stamp after a restart and after a change of leaders, also when the new leader's
/// clock is behind.
#[test]
fn stamps_rise_over_restarts_and_leaders_whose_clocks_are_behind() {
    let mut cluster = Cluster::running(3, 1, 1);
    let mut last = 0;
    for round in 0..6_i64 {
        let client = cluster.client();
        client.set("stamped", round.to_string(), None).expect("served");
        let GetAnswer::Value(value) = client.get("stamped").expect("served") else { panic!("it was just set") };
        assert!(value.modified > last, "round {round}: {} is not above {last}", value.modified);
        last = value.modified;
        let leader = cluster.leader_of("stamped");
        cluster.kill(leader);
        let mut command = cluster.command(leader, 1);
        command.args(["--wall-clock-offset-ms", &(-100 * (round + 1)).to_string()]);
        if round % 2 == 0 {
            cluster.client().get("stamped").expect("the others elect a leader");
        }
        cluster.spawn(leader, command);
    }
}
