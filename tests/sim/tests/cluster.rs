//! Whole nodes, as the binary starts them, in one thread.

use std::io::ErrorKind;
use std::time::Duration;

use kahuna_protocol::key::{Condition, KeyGet, KeySet};
use kahuna_protocol::lock::LockAcquire;
use kahuna_protocol::sequence::{SequenceCreate, SequenceNext};
use kahuna_protocol::{Outcome, Request};
use kahuna_shards::env::ExitCode;
use kahuna_shards::env::local::LocalOneshot;
use kahuna_sim::cluster::{Cluster, Shape, SimClient};
use kahuna_sim::{DiskOp, World};

const TIMEOUT: Duration = Duration::from_secs(10);

fn set(key: &str, value: &str) -> Request {
    let (key, value) = (key.into(), value.into());
    KeySet { key, value, ttl_ms: None, condition: Condition::default(), no_history: false }.into()
}

fn get(key: &str) -> Request {
    KeyGet { key: key.into(), revision: None, as_of: None }.into()
}

async fn outcome(client: &SimClient, request: Request) -> Outcome {
    client.call(request, TIMEOUT).await.expect("the cluster serves").outcome
}

async fn read(client: &SimClient, key: &str) -> String {
    match outcome(client, get(key)).await {
        Outcome::Value(value) => String::from_utf8(value.value).expect("as written"),
        other => panic!("{key}: {other:?}"),
    }
}

/// Runs `script` as a client process of the cluster.
fn run<F: Future<Output = ()> + 'static>(cluster: &Cluster, script: impl FnOnce(SimClient) -> F + 'static) {
    let (done, ended) = LocalOneshot::pair();
    let endpoints = cluster.shape().endpoints();
    cluster.world().spawn_on(Cluster::client_node(0), async move {
        script(SimClient::new(endpoints)).await;
        let _ = done.send(());
    });
    cluster.world().block_on(ended).expect("the script runs to its end");
}

/// Claim: a fresh cluster of one or three nodes forms itself and serves keys, locks and sequences in all its groups.
#[test]
fn a_cluster_forms_and_serves() {
    for nodes in [1, 3] {
        let world = World::new(nodes);
        let cluster = Cluster::new(&world, Shape::small(nodes));
        for node in cluster.shape().numbers() {
            cluster.start_with_shards(node, 2);
        }
        run(&cluster, |client| async move {
            for number in 0..20 {
                let key = format!("key-{number}");
                assert!(matches!(outcome(&client, set(&key, &key)).await, Outcome::Set(_)));
                assert_eq!(read(&client, &key).await, key);
            }
            let acquire = LockAcquire { name: "lock".into(), owner: "me".into(), ttl_ms: 1000, wait_ms: 0 };
            assert!(matches!(outcome(&client, acquire.into()).await, Outcome::Acquired(_)));
            let create = SequenceCreate { name: "seq".into(), initial: 0, increment: 1, max: None };
            assert!(matches!(outcome(&client, create.into()).await, Outcome::SequenceCreated(_)));
            for expected in 1..=3 {
                let next = SequenceNext { name: "seq".into(), idempotency_key: Vec::new() };
                let Outcome::Allocated(drawn) = outcome(&client, next.into()).await else { panic!("it was created") };
                assert_eq!(drawn.start, expected);
            }
        });
        assert_eq!(world.exits(), []);
    }
}

/// Claim: a node whose disk fails while it starts says that its disk failed, whichever operation it is, and starts when the
/// disk works again.
#[test]
fn a_disk_that_fails_during_a_start_is_called_by_its_name() {
    let world = World::new(6);
    let cluster = Cluster::new(&world, Shape { snapshot_log_bytes: 2 << 10, ..Shape::small(1) });
    cluster.start(1);
    run(&cluster, |client| async move {
        for number in 0..100 {
            assert!(matches!(outcome(&client, set(&format!("key-{number}"), &"x".repeat(200))).await, Outcome::Set(_)));
        }
    });
    cluster.kill(1);
    let disk = cluster.disk(1);
    for op in [DiskOp::Open, DiskOp::Read, DiskOp::Write, DiskOp::Sync, DiskOp::Meta] {
        for after in 0..12 {
            disk.fail(op, after, ErrorKind::Other);
            cluster.start(1);
            world.run_for(Duration::from_secs(1));
            disk.mend();
            cluster.kill(1);
        }
    }
    let exits = world.exits();
    assert!(exits.len() > 20, "only {} starts failed", exits.len());
    assert!(exits.iter().any(|exit| exit.message.contains("snapshot")), "no start got as far as a snapshot");
    let others: Vec<_> = exits.iter().filter(|exit| exit.code != ExitCode::DiskFailed).collect();
    assert!(others.is_empty(), "{others:#?}");
    cluster.start(1);
    run(&cluster, |client| async move { assert_eq!(read(&client, "key-99").await, "x".repeat(200)) });
}
