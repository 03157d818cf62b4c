//! `serve`, `status`, `limits`, and a node inside a program.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use super::support::{Node, kahuna};

/// Claim: SIGTERM drains and exits with 0; what was written is there after a restart.
#[test]
fn a_node_keeps_what_it_was_given() {
    let mut node = Node::start();
    node.expect("set a 1", 0, "set");
    assert_eq!(node.terminate(), Some(0));
    node.start_again();
    assert_eq!(node.expect("get a", 0, "value")["value"], "1");
}

/// Claim: without flags the data goes where the user keeps data, and the node says where.
#[test]
fn the_default_directory_is_the_users() {
    let home = tempfile::tempdir().expect("a directory");
    let mut command = kahuna();
    command.args(["serve", "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--shards", "1"]);
    command.env("XDG_DATA_HOME", home.path()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let data = home.path().join("kahuna");
    assert!(lines.any(|line| line.contains(&data.display().to_string())));
    assert!(lines.any(|line| line.starts_with("listening on 127.0.0.1:")));
    assert!(data.join("manifest").exists());
    kill_process(Pid::from_child(&child), Signal::INT).expect("our own child");
    assert_eq!(child.wait().expect("our own child").code(), Some(0));
}

/// Claim: `status` shows each node with its groups; `limits` what it accepts.
#[test]
fn status_and_limits() {
    let node = Node::start();
    node.expect("set a 1", 0, "set");
    let status = node.expect("status", 0, "status");
    let only = &status["nodes"][0];
    assert_eq!((&only["node"], &only["address"]), (&1.into(), &node.endpoint.clone().into()));
    assert_eq!(only["replicas"].as_array().map(Vec::len), Some(5), "four partitions and meta: {only}");
    assert!(only["log_flushes"].as_u64().is_some_and(|count| count > 0));
    assert!(node.run("status").text().starts_with("node  address"));
    let limits = node.expect("limits", 0, "limits");
    assert_eq!((&limits["max_value_bytes"], &limits["max_clock_skew_ms"]), (&(1 << 20).into(), &250.into()));
    assert_eq!(limits["shard_unsent_bytes"], 256 << 20, "what a shard holds for all of its clients");
}

/// Claim: a node that cannot be reached is named, and the others are shown all the same.
#[test]
fn status_of_half_a_cluster() {
    let node = Node::start();
    let closed = "127.0.0.1:1";
    let ended = node.run(&format!("status -o json -c {closed},{} --timeout 1s", node.endpoint));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.json()["unreachable"][0], closed);
    assert!(ended.err.contains(closed), "{ended:?}");
}

/// Claim: a program can run a node, and run it again on the same data; a second one on it is refused.
#[test]
fn a_node_inside_a_program() {
    use kahuna::client::blocking::Client;
    use kahuna::client::call::GetAnswer;
    let dir = tempfile::tempdir().expect("a directory");
    let start = || kahuna::Node::builder().data_dir(dir.path()).partitions(2).start();
    let client = |node: &kahuna::Node| {
        Client::new(kahuna::client::Options::new([node.client_address().to_string()])).expect("a client")
    };
    let node = start().expect("the node starts");
    client(&node).set("a", "1", None).expect("served");
    let second = start().expect_err("the directory is in use");
    assert!(second.to_string().contains("in use"), "{second}");
    node.shutdown();
    let node = start().expect("the node starts again");
    let answer = client(&node).get("a").expect("served");
    assert!(matches!(answer, GetAnswer::Value(value) if value.value == b"1"));
    assert!(matches!(kahuna::Node::builder().start(), Err(kahuna::StartError::NoDataDir)));
    let many = kahuna::Node::builder().data_dir(dir.path().join("many")).partitions(100_000).start();
    let many = many.expect_err("no cluster has as many").to_string();
    assert!(many.contains("at most 2048"), "{many}");
}
