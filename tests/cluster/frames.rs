//! Bad input harms nobody but its sender: an error frame or a close, the other clients unharmed, memory bounded.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use kahuna_client::blocking::Client;
use kahuna_client::wire::{ConnectOptions, Connection};
use kahuna_protocol::frame::{FLAG_REPLY, encode_frame};
use kahuna_protocol::handshake::{ANY_SHARD, Hello, KIND_HELLO};
use kahuna_protocol::key::KeyGet;
use kahuna_protocol::{ClusterId, ErrorCode, Header, Hlc, Outcome, Request, RequestPrelude};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::nodes::Cluster;

/// Far above any answer, far below for ever: a server that neither answers nor closes fails the test by this.
const HANG: Duration = Duration::from_secs(60);

pub fn hello() -> Vec<u8> {
    let hello =
        Hello { min_version: 1, max_version: 1, shard: ANY_SHARD, cluster: ClusterId::NONE, client_name: "t".into() };
    let mut frame = Vec::new();
    encode_frame(&mut frame, KIND_HELLO, 0, 1, Hlc::ZERO, |out| kahuna_protocol::frame::archive_into(&hello, out));
    frame
}

fn get(key: &str) -> Vec<u8> {
    let request: Request = KeyGet { key: key.into(), revision: None, as_of: None }.into();
    let prelude = RequestPrelude { timeout_ms: 5_000, ..RequestPrelude::default() };
    let mut frame = Vec::new();
    encode_frame(&mut frame, request.kind(), 0, 2, Hlc::ZERO, |out| {
        out.extend_from_slice(&prelude.encode());
        request.encode_body(out);
    });
    frame
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the node listens");
    stream.set_read_timeout(Some(HANG)).expect("a socket takes a timeout");
    stream
}

/// Sends `bytes` and reads until the server closes; returns the kinds and, of errors, the codes that it answered.
fn answers_until_close(address: &str, bytes: &[u8]) -> Vec<Result<u16, ErrorCode>> {
    let mut stream = connect(address);
    // The server may close while we still write.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server neither answers nor closes: {error}"),
    }
    let mut kinds = Vec::new();
    let mut rest = &answer[..];
    while let Ok(Some(header)) = Header::parse(rest, u32::MAX) {
        let Some(frame) = rest.get(..header.frame_bytes()) else { break };
        header.verify(frame).expect("what the server sends is whole");
        assert_eq!(header.flags & FLAG_REPLY, FLAG_REPLY);
        kinds.push(match Outcome::decode(header.kind, &frame[Header::BYTES..]) {
            Ok(Outcome::Error(error)) => Err(error.code()),
            _ => Ok(header.kind),
        });
        rest = &rest[header.frame_bytes()..];
    }
    kinds
}

fn still_serves(client: &Client, what: &str) {
    client.set("bystander", what, None).unwrap_or_else(|error| panic!("after {what}: {error}"));
}

/// Resident memory of a process in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel says it");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn bad_frames_are_answered_and_closed() {
    let cluster = Cluster::running(1, 2, 2);
    let client = cluster.client();
    for address in [&cluster.nodes[0].client_address, &cluster.nodes[0].peer_address] {
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = hello();
            change(&mut bytes);
            bytes
        };
        let cases: [(&str, Vec<u8>); 6] = [
            ("wrong magic", with(&|bytes| bytes[0] = b'X')),
            ("wrong version", with(&|bytes| bytes[4] = 99)),
            ("oversized", with(&|bytes| bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes()))),
            ("wrong CRC", with(&|bytes| *bytes.last_mut().expect("not empty") ^= 1)),
            ("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nsome more bytes to fill a header".to_vec()),
            ("a request before the handshake", get("a")),
        ];
        for (what, bytes) in cases {
            let answers = answers_until_close(address, &bytes);
            assert_eq!(answers.len(), 1, "{what} at {address}: one error frame, then the close: {answers:?}");
            assert!(answers[0].is_err(), "{what} at {address}: {answers:?}");
            still_serves(&client, what);
        }
    }
}

#[test]
fn bad_frames_behind_a_good_handshake_close_the_connection() {
    let cluster = Cluster::running(1, 1, 1);
    let client = cluster.client();
    let address = &cluster.nodes[0].client_address;
    let mut unknown_kind = hello();
    encode_frame(&mut unknown_kind, 0x7777, 0, 2, Hlc::ZERO, |out| out.extend_from_slice(&[0; 64]));
    let mut bad_body = hello();
    encode_frame(&mut bad_body, 0x0202, 0, 2, Hlc::ZERO, |out| out.extend_from_slice(&[0xff; 41]));
    let mut bad_crc = hello();
    let mut frame = get("a");
    *frame.last_mut().expect("not empty") ^= 1;
    bad_crc.extend(frame);
    for (what, bytes) in [("unknown kind", unknown_kind), ("body", bad_body), ("CRC", bad_crc)] {
        let answers = answers_until_close(address, &bytes);
        assert_eq!(answers.len(), 2, "{what}: the welcome and one error: {answers:?}");
        assert_eq!(answers[1], Err(ErrorCode::BadFrame), "{what}");
        still_serves(&client, what);
    }
}

#[test]
fn random_and_truncated_bytes_harm_nobody() {
    let cluster = Cluster::running(1, 2, 2);
    let client = cluster.client();
    let mut good = hello();
    good.extend(get("bystander"));
    for seed in 0..120_u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bytes = good.clone();
        match seed % 3 {
            0 => bytes.truncate(rng.random_range(0..good.len())),
            1 => {
                let at = rng.random_range(0..good.len());
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
            _ => {
                bytes.resize(rng.random_range(1..4096), 0);
                rng.fill_bytes(&mut bytes);
            }
        }
        let node = &cluster.nodes[0];
        let address = if seed % 2 == 0 { &node.client_address } else { &node.peer_address };
        let answers = answers_until_close(address, &bytes);
        assert!(answers.len() <= 2, "seed {seed}: {answers:?}");
    }
    still_serves(&client, "random bytes");
}

/// Claim: connections that send half a frame, or never read their answers, cost bounded memory, and others are served.
#[test]
fn half_open_and_never_reading_connections_are_bounded() {
    let cluster = Cluster::running(1, 1, 1);
    let client = cluster.client();
    client.set("large", vec![b'x'; 512 << 10], None).expect("served");
    let address = &cluster.nodes[0].client_address;
    let before = resident_kib(cluster.pid(0));
    let mut half_open = Vec::new();
    for _ in 0..50 {
        let mut stream = connect(address);
        stream.write_all(&hello()[..20]).expect("the server reads");
        half_open.push(stream);
    }
    // 4,000 answers of 512 KiB are 2 GB: nobody reads them.
    let options = ConnectOptions::default();
    let mut deaf = Connection::connect(address, &options).expect("served");
    deaf.stream().set_nonblocking(true).expect("a socket can be told");
    let request: Request = KeyGet { key: b"large".to_vec(), revision: None, as_of: None }.into();
    let prelude = RequestPrelude { timeout_ms: 60_000, ..RequestPrelude::default() };
    for number in 0..4_000 {
        deaf.queue(number, &prelude, &request);
    }
    // The socket takes what it takes; the server stops reading long before the end.
    let _ = deaf.flush();
    for round in 0..200 {
        still_serves(&client, &format!("round {round}"));
    }
    let grown = resident_kib(cluster.pid(0)).saturating_sub(before);
    assert!(grown < 200 << 10, "the node grew by {grown} KiB");
    drop((half_open, deaf));
    still_serves(&client, "the deaf connection closed");
}
