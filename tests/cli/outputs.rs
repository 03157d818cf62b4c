//! What goes where, and what the exit code says when there is no outcome.

use std::fs::File;
use std::io::{Read, Write, pipe};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;

use kahuna_protocol::Limits;
use kahuna_protocol::frame::{FLAG_REPLY, archive_into, encode_frame};
use kahuna_protocol::handshake::{KIND_WELCOME, Welcome};
use kahuna_protocol::meta::Map;
use kahuna_protocol::{ClusterId, Hlc, NodeId, RangeMap, ShardId};
use serde_json::json;

use super::support::{Ended, Node, file, kahuna};

/// Claim: stdout holds data alone: a value that is not there is said on stderr where a script would take it for one.
#[test]
fn stdout_holds_data_alone() {
    let node = Node::start();
    node.run("set a 1");
    assert_eq!(node.run("get a").text(), "1\n", "plain when it is no terminal");
    assert_eq!(node.run("get a -o raw").text(), "1");
    assert_eq!(node.run("set a 2").text(), "set\trevision=2\n");
    assert!(node.run("get a -o table").text().contains("\nvalue     2\nrevision  2\n"));
    for format in ["plain", "raw"] {
        let missing = node.run(&format!("get none -o {format}"));
        assert_eq!((missing.code, missing.text()), (3, ""), "{missing:?}");
        assert!(missing.err.contains("not_found"), "{missing:?}");
    }
    node.run("lock acquire l --owner me --ttl 60s");
    let held = node.run("lock acquire l --owner you --ttl 60s -o raw");
    assert_eq!((held.code, held.text()), (4, ""));
}

/// Claim: nobody there is 5, said on both channels when a program listens.
#[test]
fn nobody_there() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").to_string();
    let run = |words: &[&str]| {
        let output = kahuna().args(["-c", &closed, "--timeout", "300ms"]).args(words).output();
        Ended::of(output.expect("the binary runs"))
    };
    let ended = run(&["set", "a", "1", "-o", "json"]);
    assert_eq!((ended.code, &ended.json()["outcome"]), (5, &json!("unavailable")));
    assert!(ended.err.contains(&closed), "{ended:?}");
    assert_eq!(run(&["status"]).code, 5);
    assert_eq!(run(&["limits"]).code, 5);
    assert_eq!(run(&["bench", "set", "--ops", "1"]).code, 5);
}

/// Claim: a write that was sent and never answered is 6, not 5: it may have been applied.
#[test]
fn an_unknown_outcome() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = listener.local_addr().expect("bound").to_string();
    // A node that greets, takes one request, and is never seen again.
    let node = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut bytes = [0; 4096];
        let hello = stream.read(&mut bytes).expect("a hello");
        assert!(hello > 0);
        let map = Map { ranges: RangeMap::even(1), nodes: Vec::new() };
        let welcome = Welcome {
            version: 1,
            node: NodeId(1),
            shard: ShardId(0),
            cluster: ClusterId([1; 16]),
            limits: Limits::default(),
            map,
        };
        let mut frame = Vec::new();
        encode_frame(&mut frame, KIND_WELCOME, FLAG_REPLY, 0, Hlc::ZERO, |out| archive_into(&welcome, out));
        stream.write_all(&frame).expect("the client reads");
        let request = stream.read(&mut bytes).expect("a request");
        assert!(request > 0);
    });
    let output = kahuna().args(["-c", &endpoint, "--timeout", "500ms", "-o", "json", "set", "a", "1"]).output();
    let ended = Ended::of(output.expect("the binary runs"));
    node.join().expect("the script was followed");
    assert_eq!((ended.code, &ended.json()["outcome"]), (6, &json!("unknown")), "{ended:?}");
}

/// A pipe whose reader has ended.
fn unread() -> Stdio {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// Claim: a command whose output nobody reads ends with the code of its outcome: nothing that was refused, or is unknown,
/// looks as if it had been done; a listing that is cut short ends with 0.
#[test]
fn nobody_reads_the_output() {
    let node = Node::start();
    node.run("set p/a 1");
    node.run("lock acquire l --owner me --ttl 60s");
    let closed = "-c 127.0.0.1:1 --timeout 100ms";
    for (line, code) in [
        ("set b 1".to_owned(), 0),
        ("get p/a".to_owned(), 0),
        ("get none".to_owned(), 3),
        ("get none -o json".to_owned(), 3),
        ("get none -o raw".to_owned(), 3),
        ("lock acquire l --owner you --ttl 60s".to_owned(), 4),
        ("scan p/".to_owned(), 0),
        ("scan p/ -o table".to_owned(), 0),
        ("scan nobucket".to_owned(), 2),
        ("status".to_owned(), 0),
        (format!("status {closed}"), 5),
        (format!("set b 2 -o json {closed}"), 5),
        ("check --data-dir / --listen 127.0.0.1:0 --peer-listen 127.0.0.1:0".to_owned(), 78),
        ("explain busy".to_owned(), 0),
        ("frobnicate".to_owned(), 2),
        ("--help".to_owned(), 0),
    ] {
        let mut command = node.command();
        let status = command.args(line.split(' ')).stdout(unread()).stderr(unread()).status();
        assert_eq!(status.expect("the binary runs").code(), Some(code), "{line}");
        let full = File::options().write(true).open("/dev/full").expect("every Linux has it");
        let output = node.command().args(line.split(' ')).stderr(full).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(code), "{line}, no room for messages: {output:?}");
    }
    assert_eq!(node.run("get b").text(), "1\n", "a set was carried out though nobody read of it");
}

/// Claim: what cannot be an address is a usage error at once, whoever gives it; blanks around one do not matter.
#[test]
fn endpoints_are_addresses() {
    let node = Node::start();
    node.run("set a 1");
    let spaced = format!(" 127.0.0.1:1 ,\t{} ", node.endpoint);
    let output = node.command().args(["-c", &spaced, "get", "a"]).output().expect("the binary runs");
    assert_eq!(Ended::of(output).text(), "1\n");
    let output = kahuna().env("KAHUNA_ENDPOINTS", &spaced).args(["get", "a"]).output().expect("the binary runs");
    assert_eq!(Ended::of(output).text(), "1\n");
    for wrong in ["garbage", "", " ", "127.0.0.1", "127.0.0.1:99999", "http://127.0.0.1:2070", "127.0.0.1:2070,,"] {
        let ended = Ended::of(kahuna().args(["-c", wrong, "get", "a"]).output().expect("the binary runs"));
        assert_eq!(ended.code, 2, "{wrong:?}: {ended:?}");
        assert!(ended.err.contains("HOST:PORT"), "{wrong:?}: {ended:?}");
    }
    let config = file(node.dir.path(), "config.toml", "[client]\nendpoints = [\"garbage\"]\n");
    let ended = Ended::of(kahuna().args(["--config", &config, "get", "a"]).output().expect("the binary runs"));
    assert_eq!((ended.code, ended.err.contains("HOST:PORT")), (2, true), "{ended:?}");
}

/// Claim: the port for other nodes, given as an endpoint, is named as such and where clients connect, whatever the verb,
/// long before the time is up; beside an endpoint that works it is no harm.
#[test]
fn the_port_for_other_nodes_is_no_endpoint() {
    let node = Node::start();
    node.run("set a 1");
    for (line, code) in [("get a", 2), ("set a 2 -o json", 2), ("status", 5), ("limits", 5), ("bench set --ops 1", 5)] {
        let output = kahuna().args(["-c", &node.peer_endpoint, "--timeout", "10m"]).args(line.split(' ')).output();
        let ended = Ended::of(output.expect("the binary runs"));
        assert_eq!(ended.code, code, "{line}: {ended:?}");
        assert!(ended.err.contains("port for other nodes") && ended.err.contains(&node.endpoint), "{line}: {ended:?}");
    }
    let both = format!("{},{}", node.peer_endpoint, node.endpoint);
    let output = kahuna().args(["-c", &both, "get", "a"]).output().expect("the binary runs");
    assert_eq!(Ended::of(output).text(), "1\n");
}

/// Claim: a table is for people: a long value is cut, with a mark, and a line stays a line.
#[test]
fn tables_take_any_value() {
    let node = Node::start();
    node.run_with("set p/long -", &vec![b'x'; 1 << 17]);
    node.run_with("set p/lines -", b"one\ntwo");
    let ended = node.run("scan p/ -o table");
    assert_eq!((ended.code, ended.text().lines().count()), (0, 3), "{ended:?}");
    assert!(ended.text().contains("xxx… +130944 characters") && ended.text().contains("one\\ntwo"), "{ended:?}");
}

/// Claim: what the parser refuses is 2; help and version are 0.
#[test]
fn usage() {
    let run = |line: &str| Ended::of(kahuna().args(line.split(' ')).output().expect("the binary runs")).code;
    assert_eq!(run("get"), 2);
    assert_eq!(run("frobnicate"), 2);
    assert_eq!(run("get a -o yaml"), 2);
    assert_eq!((run("--help"), run("lock --help"), run("--version")), (0, 0, 0));
}

/// Claim: every error code is explained by name and by number, with the exit code it leads to.
#[test]
fn every_code_is_explained() {
    for code in kahuna_protocol::ErrorCode::ALL {
        for name in [code.name().to_owned(), (*code as u16).to_string()] {
            let ended = Ended::of(kahuna().args(["explain", &name, "-o", "json"]).output().expect("the binary runs"));
            assert_eq!((ended.code, &ended.json()["code"]), (0, &json!(code.name())));
            assert!(ended.json()["meaning"].as_str().is_some_and(|text| text.len() > 20));
        }
    }
    let exit = Ended::of(kahuna().args(["explain", "exit-65", "-o", "json"]).output().expect("the binary runs"));
    assert!(exit.json()["meaning"].as_str().is_some_and(|text| text.contains("kahuna recover")), "{exit:?}");
    assert_eq!(Ended::of(kahuna().args(["explain", "exit-99"]).output().expect("the binary runs")).code, 2);
    assert_eq!(Ended::of(kahuna().args(["explain", "gremlins"]).output().expect("the binary runs")).code, 2);
}
