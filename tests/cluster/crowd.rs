//! More clients than a node has descriptors for: it keeps those that its own files need, and turns the rest away.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use kahuna_client::call::GetAnswer;

use super::frames::hello;
use super::nodes::Cluster;

/// What a node of one shard and two partitions may have: 512 + 64 + 6 for itself, and some clients.
const LIMIT: u64 = 1100;
/// More than that, and than that leaves for clients.
const CROWD: usize = 1300;

/// A client that has said hello, if it was let in.
fn enter(address: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket takes a timeout");
    stream.write_all(&hello()).ok()?;
    let mut first = [0];
    match stream.read(&mut first) {
        Ok(0) => None,
        Ok(_) => Some(stream),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => None,
        Err(error) => panic!("the node neither answers nor closes: {error}"),
    }
}

/// Claim: a node that is flooded with connections goes on writing, through new segments and snapshots, turns away what is too
/// much and says so, keeps what it acknowledged, and lets others in when the crowd leaves.
#[test]
fn a_crowd_does_not_take_the_descriptors_of_the_log() {
    let mut cluster = Cluster::new(1, 1, 2);
    let inner = cluster.command(0, 1);
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={LIMIT}:{LIMIT}")).arg(inner.get_program()).args(inner.get_args());
    command.args(["--snapshot-log-size", "1MiB"]);
    cluster.spawn(0, command);
    cluster.wait_until_led();
    let client = cluster.client();
    client.set("before", "the crowd", None).expect("served");
    let address = cluster.nodes[0].client_address.clone();
    let crowd: Vec<TcpStream> = (0..CROWD).filter_map(|_| enter(&address)).collect();
    assert!(crowd.len() > 100, "only {} were let in", crowd.len());
    let value = vec![7; 100_000];
    for number in 0..200 {
        client.set(format!("key/{}", number % 20), value.clone(), None).expect("the node goes on");
    }
    assert!(crowd.len() < CROWD, "none was turned away");
    assert!(cluster.printed(0).contains("connections of clients were closed"), "{}", cluster.printed(0));
    assert!(!cluster.has_ended(0));
    drop(crowd);
    let late = loop {
        if let Some(stream) = enter(&address) {
            break stream;
        }
    };
    drop(late);
    cluster.kill(0);
    cluster.start(0);
    cluster.wait_until_led();
    for key in (0..20).map(|number| format!("key/{number}")) {
        let answer = client.get(key.as_str()).expect("served");
        assert!(matches!(answer, GetAnswer::Value(read) if read.value == value), "{key} was acknowledged");
    }
}
