//! `demo`: real processes that leave no trace.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

use super::support::{Ended, file, kahuna};

/// A demo of one partition a node, whose data goes below `home`.
fn demo(home: &Path, flags: &str) -> Command {
    let mut command = kahuna();
    command.arg("demo").args(["--partitions", "2", "--shards", "1"]).args(flags.split(' ')).env("XDG_DATA_HOME", home);
    command
}

fn is_alive(pid: u64) -> bool {
    // A process that was killed and not yet waited for is dead as well.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Claim: a script finds the cluster, the binary and nodes.json; its exit code is the demo's; nothing stays.
#[test]
fn a_script_has_a_cluster() {
    let home = TempDir::new().expect("a directory");
    let script = file(
        home.path(),
        "script",
        "set -e\nkahuna set a 'from the script'\nkahuna get a\ncat \"$KAHUNA_DEMO_DIR/nodes.json\"\nexit 42\n",
    );
    let ended = Ended::of(demo(home.path(), "--nodes 3 --run").arg(script).output().expect("the binary runs"));
    assert_eq!(ended.code, 42, "{ended:?}");
    let (said, nodes) = ended.text().split_once("from the script\n").expect("the value");
    assert_eq!(said, "set\trevision=1\n");
    let nodes: Vec<Json> = serde_json::from_str(nodes).expect("nodes.json");
    assert_eq!(nodes.len(), 3);
    for (node, id) in nodes.iter().zip(1..) {
        assert_eq!(node["id"], id);
        assert!(!is_alive(node["pid"].as_u64().expect("a pid")), "{node}");
        assert!(node["ports"]["client"].is_u64() && node["ports"]["peer"].is_u64());
        assert!(!Path::new(node["data"].as_str().expect("a path")).exists());
    }
    assert!(!home.path().join("kahuna-demo").exists(), "nothing stays");
}

/// Claim: at the prompt nodes can be killed, paused, resumed and started, and every verb works; its end is the cluster's.
#[test]
fn the_prompt() {
    let home = TempDir::new().expect("a directory");
    let mut command = demo(home.path(), "--nodes 3");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let lines =
        "set a \"b c\"\nkill 2\nkill 2\nget a\nstart 2\npause 1\nnodes\nresume 1\nnodes\nkill 9\nget a\nget none\n";
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
    let ended = Ended::of(child.wait_with_output().expect("our own child"));
    assert_eq!(ended.code, 0, "{ended:?}");
    let out = ended.text();
    assert!(out.contains("export KAHUNA_ENDPOINTS=127.0.0.1:"), "{out}");
    assert_eq!(out.matches("b c\n").count(), 2, "{out}");
    assert_eq!(out.matches("paused").count(), 1, "{out}");
    assert_eq!(out.matches("running").count(), 5, "{out}");
    for words in ["node 2 is dead", "there is no node 9", "exit code 3"] {
        assert!(ended.err.contains(words), "{ended:?}");
    }
    assert!(!home.path().join("kahuna-demo").exists(), "nothing stays");
}

/// Claim: demos that begin at the same moment have ports of their own, and nodes of their own.
#[test]
fn demos_at_the_same_moment() {
    let home = TempDir::new().expect("a directory");
    // Each waits for the others, so that all are there at once.
    let script = file(
        home.path(),
        "script",
        "set -e\nkahuna set who $$ >/dev/null\necho $$\nkahuna status -o json\nread go\nkahuna get who\n",
    );
    let begin = |_| {
        let mut command = demo(home.path(), "--nodes 1 --run");
        command.arg(&script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    };
    let mut demos: Vec<Child> = (0..4).map(begin).collect();
    let mut addresses = BTreeSet::new();
    let mut owners = Vec::new();
    for demo in &mut demos {
        let mut lines = BufReader::new(demo.stdout.as_mut().expect("piped")).lines().map_while(Result::ok);
        let (Some(owner), Some(status)) = (lines.next(), lines.next()) else { break };
        let status: Json = serde_json::from_str(&status).expect("an object");
        addresses.insert(status["nodes"][0]["address"].to_string());
        owners.push(owner);
    }
    for (at, demo) in demos.into_iter().enumerate() {
        let mut demo = demo;
        // One that has failed does not read any more.
        let _ = demo.stdin.take().expect("piped").write_all(b"go\n");
        let ended = Ended::of(demo.wait_with_output().expect("our own child"));
        assert_eq!(ended.code, 0, "demo {at}: {ended:?}");
        assert_eq!(ended.text().trim(), owners[at], "demo {at} has its own data");
    }
    assert_eq!(addresses.len(), 4, "{addresses:?}");
    assert!(!home.path().join("kahuna-demo").exists(), "nothing stays");
}

/// Claim: the servers of a demo that is killed die with it, and the next demo removes what it left.
#[test]
fn a_killed_demo() {
    let home = TempDir::new().expect("a directory");
    let script = file(home.path(), "script", "cat \"$KAHUNA_DEMO_DIR/nodes.json\"; echo end; exec cat\n");
    let mut command = demo(home.path(), "--nodes 1 --run");
    let mut child =
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary starts");
    let input = child.stdin.take();
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let nodes: String = lines.take_while(|line| line != "end").collect();
    let nodes: Vec<Json> = serde_json::from_str(&nodes).expect("nodes.json");
    let pid = nodes[0]["pid"].as_u64().expect("a pid");
    let data = nodes[0]["data"].as_str().expect("a path").to_owned();
    assert!(is_alive(pid) && Path::new(&data).exists());
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    drop(input);
    while is_alive(pid) {
        std::thread::yield_now();
    }
    assert!(Path::new(&data).exists(), "nobody was left to remove it");
    let quiet = file(home.path(), "quiet", "true\n");
    assert_eq!(Ended::of(demo(home.path(), "--nodes 1 --run").arg(quiet).output().expect("the binary runs")).code, 0);
    assert!(!home.path().join("kahuna-demo").exists(), "nothing stays");
}
