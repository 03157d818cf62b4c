//! `serve`, `status`, `limits`, and a node inside a program.

use std::fs;
use std::io::{BufRead, BufReader, pipe};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::support::{Ended, Node, file, kahuna};

/// Claim: SIGTERM drains and exits with 0; what was written is there after a restart.
#[test]
fn a_node_keeps_what_it_was_given() {
    let mut node = Node::start();
    node.expect("set a 1", 0, "set");
    assert_eq!(node.terminate(), Some(0));
    node.start_again();
    assert_eq!(node.expect("get a", 0, "value")["value"], "1");
}

/// Claim: a node that its terminal leaves drains; asked how it stands it says so; signals that mean nothing to it, any number
/// of them, do not end it.
#[test]
fn signals() {
    let mut node = Node::new();
    let (reader, writer) = pipe().expect("a pipe");
    node.start_telling(writer);
    let mut said = BufReader::new(reader).lines().map_while(Result::ok);
    node.expect("set a 1", 0, "set");
    for signal in [Signal::USR2, Signal::ALARM, Signal::VTALARM, Signal::PROF, Signal::IO, Signal::PIPE] {
        node.signal(signal);
        assert_eq!(node.run("get a").text(), "1\n", "{signal:?}");
    }
    node.signal(Signal::USR1);
    let state = said.find(|line| line.starts_with("node 1: ")).expect("its state");
    assert!(state.contains("serves") && state.contains("leads 5 of 5 groups"), "{state}");
    node.signal(Signal::USR1);
    said.find(|line| line.starts_with("node 1: ")).expect("its state again");
    node.signal(Signal::HUP);
    said.find(|line| line.contains("draining")).expect("it drains");
    assert_eq!(node.wait(), Some(0));
}

/// Claim: a node that was started to outlive its terminal, with the signal ignored, does.
#[test]
fn a_node_under_nohup_outlives_its_terminal() {
    let dir = tempfile::tempdir().expect("a directory");
    let binary = kahuna();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(binary.get_program());
    command.args(["serve", "--partitions", "1", "--shards", "1", "--data-dir"]).arg(dir.path().join("data"));
    command.args(["--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("sh starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let listening = lines.find(|line| line.starts_with("listening on")).expect("the node listens");
    let endpoint = listening.split(' ').nth(2).expect("an address");
    kill_process(Pid::from_child(&child), Signal::HUP).expect("our own child");
    let set = kahuna().args(["-c", endpoint, "set", "a", "1"]).output().expect("the binary runs");
    assert!(set.status.success(), "{set:?}");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("our own child");
    assert_eq!(child.wait().expect("our own child").code(), Some(0));
}

/// Claim: what was fixed when the cluster was made stays so: a node that is started otherwise says what differs, and ends.
#[test]
fn a_node_is_started_for_the_cluster_that_it_belongs_to() {
    let mut node = Node::start();
    node.expect("get nothing", 3, "not_found");
    assert_eq!(node.terminate(), Some(0));
    for (flag, value, word) in
        [("--max-clock-skew", "1s", "--max-clock-skew 250ms"), ("--partitions", "5", "leave the flag")]
    {
        let mut command = kahuna();
        command.args(["serve", "--shards", "1", "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"]);
        let ended = Ended::of(command.args([flag, value, "--data-dir"]).arg(node.data()).output().expect("it runs"));
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.err.contains(word), "{ended:?}");
    }
    node.start_again();
    node.expect("get nothing", 3, "not_found");
}

/// Claim: the root of a fresh volume is empty, although the volume put a directory there; what a repair left in that is not
/// passed over.
#[test]
fn the_root_of_a_fresh_volume_is_empty() {
    let mut node = Node::new();
    let lost = node.data().join("lost+found");
    fs::create_dir_all(&lost).expect("our own directory");
    let check = |node: &Node| {
        let flags = ["check", "--shards", "1", "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--data-dir"];
        Ended::of(kahuna().args(flags).arg(node.data()).output().expect("the binary runs"))
    };
    assert_eq!(check(&node).code, 0, "{:?}", check(&node));
    file(&lost, "#12", "a manifest, perhaps");
    let refused = check(&node);
    assert_eq!(refused.code, 78, "{refused:?}");
    assert!(refused.text().contains("lost+found"), "{refused:?}");
    fs::remove_file(lost.join("#12")).expect("our own file");
    node.start_again();
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
    client(&node).append("a", "2").expect("served");
    let answer = client(&node).get("a").expect("served");
    assert!(matches!(answer, GetAnswer::Value(value) if value.value == b"12"));
    assert!(matches!(kahuna::Node::builder().start(), Err(kahuna::StartError::NoDataDir)));
    let nowhere = kahuna::Node::builder().data_dir(dir.path().join("nowhere")).peer(1, "127.0.0.1").start();
    assert!(matches!(nowhere, Err(kahuna::StartError::Peer(1, _))), "{nowhere:?}");
    let many = kahuna::Node::builder().data_dir(dir.path().join("many")).partitions(100_000).start();
    let many = many.expect_err("no cluster has as many").to_string();
    assert!(many.contains("at most 4096"), "{many}");
}
