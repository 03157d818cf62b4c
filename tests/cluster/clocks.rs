//! A node whose clock is off harms nobody else.

use std::time::{Duration, Instant};

use kahuna_bench::{Plan, Stop, Workload};
use kahuna_client::call::{AcquireAnswer, InfoAnswer};
use kahuna_protocol::lock::{LockAcquire, LockInfo};
use kahuna_protocol::{GroupId, ReadLevel};

use super::nodes::{Cluster, PATIENCE};

/// Of the leases that others hold meanwhile: longer than the test may take, shorter than the clock is off.
const TTL: Duration = Duration::from_secs(100);
const OFF_MS: i64 = 3_600_000;

fn start_off_by(cluster: &mut Cluster, at: usize, off_ms: i64) {
    let mut command = cluster.command(at, 2);
    command.args(["--wall-clock-offset-ms", &off_ms.to_string()]);
    cluster.spawn(at, command);
}

/// Returns once the node leads one of the partitions: what it stamps counts then.
fn wait_until_it_leads(cluster: &Cluster, at: usize) {
    let client = cluster.client_of(at);
    let node = &cluster.nodes[at];
    let until = Instant::now() + PATIENCE;
    loop {
        let status = client.status(node.client_address.clone()).expect("it answers");
        if status.replicas.iter().any(|replica| replica.group != GroupId::META && replica.leader == node.id) {
            return;
        }
        assert!(Instant::now() < until, "node {} leads nothing: {status:?}\n{}", node.id, cluster.printed(at));
        std::thread::yield_now();
    }
}

/// Somebody takes a lease of every name.
fn acquire(cluster: &Cluster, names: &[String]) {
    let client = cluster.client();
    for name in names {
        let ttl_ms = TTL.as_millis() as u64;
        let acquire = LockAcquire { name: name.as_bytes().to_vec(), owner: b"a".to_vec(), ttl_ms, wait_ms: 0 };
        client.call(acquire).expect("free");
    }
}

/// Every name takes a write, and every lease is still held.
fn check(cluster: &Cluster, names: &[String], when: &str) {
    let client = cluster.client();
    for name in names {
        client.set(name.as_str(), when, None).unwrap_or_else(|error| panic!("{when}, {name}: {error}"));
        let held = client.call(LockInfo { name: name.as_bytes().to_vec() }).expect("served");
        assert!(matches!(held, InfoAnswer::LockState(_)), "{when}, {name}: {held:?}");
    }
}

/// Writes all over the partitions.
fn bench(cluster: &Cluster) -> Plan {
    Plan {
        endpoints: vec![cluster.nodes[0].client_address.clone()],
        workload: Workload::Set,
        in_flight: 16,
        connections: 2,
        value_bytes: 8,
        keys: 400,
        stop: Stop::Ops(400),
        warmup: Duration::ZERO,
        rate: None,
        read: ReadLevel::Linearizable,
        timeout: PATIENCE,
    }
}

/// Claim: while one node's clock is an hour ahead or behind, and after it was set right, every name takes writes and no
/// lease of anybody ends early; the node says that its clock is off.
#[test]
fn a_clock_that_is_off_ends_no_lease_and_refuses_no_write() {
    for off_ms in [OFF_MS, -OFF_MS] {
        let mut cluster = Cluster::running(3, 2, 8);
        let names = cluster.names_of_partitions();
        acquire(&cluster, &names);
        cluster.kill(2);
        start_off_by(&mut cluster, 2, off_ms);
        wait_until_it_leads(&cluster, 2);
        check(&cluster, &names, "off");
        let status = cluster.client().status(cluster.nodes[2].client_address.clone()).expect("it answers");
        assert!(status.serves() && status.waiting.contains("clock"), "says what is wrong: {}", status.waiting);
        assert!(cluster.printed(2).contains("ALARM"), "{}", cluster.printed(2));
        // What it learned from the others stands while one of them is away.
        cluster.kill(0);
        check(&cluster, &names, "off, one of the others is away");
        cluster.start(0);
        cluster.wait_until_led();
        cluster.kill(2);
        start_off_by(&mut cluster, 2, 0);
        wait_until_it_leads(&cluster, 2);
        check(&cluster, &names, "set right");
    }
}

/// Claim: a node that was alone with a clock an hour ahead takes the first write of every client as soon as it is restarted
/// with its clock set right, from the bench as well, and its leases end by their time to live, not an hour later.
#[test]
fn a_lone_node_whose_clock_was_ahead_refuses_no_write_once_it_is_right() {
    let mut cluster = Cluster::new(1, 2, 8);
    start_off_by(&mut cluster, 0, OFF_MS);
    cluster.wait_until_led();
    let names = cluster.names_of_partitions();
    acquire(&cluster, &names);
    let short = |owner: &[u8]| LockAcquire { name: b"short".to_vec(), owner: owner.to_vec(), ttl_ms: 500, wait_ms: 0 };
    cluster.client().call(short(b"a")).expect("free");
    cluster.kill(0);
    start_off_by(&mut cluster, 0, 0);
    check(&cluster, &names, "set right");
    let report = kahuna_bench::run(&bench(&cluster)).expect("it measures");
    assert_eq!((report.ops, &report.error_kinds), (400, &Vec::new()), "{report:?}");
    let (client, until) = (cluster.client(), Instant::now() + PATIENCE);
    while let AcquireAnswer::Held(held) = client.call(short(b"b")).expect("served") {
        assert!(Instant::now() < until, "half a second goes on: {held:?}");
    }
}
