//! What goes where, and what the exit code says when there is no outcome.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use kahuna_protocol::Limits;
use kahuna_protocol::frame::{FLAG_REPLY, archive_into, encode_frame};
use kahuna_protocol::handshake::{KIND_WELCOME, Welcome};
use kahuna_protocol::meta::Map;
use kahuna_protocol::{Hlc, RangeMap};
use serde_json::json;

use super::support::{Ended, Node, kahuna};

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
        let welcome = Welcome { version: 1, node: 1, shard: 0, cluster: [1; 16], limits: Limits::default(), map };
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
