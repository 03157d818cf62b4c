//! What another node forwards is judged by who sent it: it speaks for itself, and moves nobody's time.

mod peer_world;
mod serve_support;

use std::net::SocketAddr;
use std::sync::mpsc;

use kahuna_protocol::frame::{FLAG_FORWARDED, encode_frame};
use kahuna_protocol::lock::{LockAcquire, LockInfo};
use kahuna_protocol::meta::{NodeInfo, SetLed, Settings, Tick, UpsertNode};
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{
    ErrorCode, GroupId, Hlc, Incarnation, Limits, NodeId, Outcome, ReplicaId, Request, RequestPrelude,
};
use kahuna_shards::env::Env;
use kahuna_shards::linux::Linux;
use kahuna_shards::peer::handshake::KIND_PEER_WELCOME;
use kahuna_shards::peer::listen_to_peers;
use peer_world::{hello, hello_frame, listen};
use serve_support::groups::{lead, open_groups};
use serve_support::{Client, PATIENCE, Served, serve};

/// A node with one partition that it leads, and where its peers connect.
fn node() -> (Served, SocketAddr) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_owned();
    let (told, address) = mpsc::channel();
    let mut served = serve(1, Limits::default(), move |all| async move {
        open_groups(&all, path, 1, Settings::default()).await;
        lead(&all).await;
        let peers = all[0].peers().clone();
        peers.set_handler(all[0].clone());
        let (listener, address) = listen();
        Linux::spawn(listen_to_peers(peers, listener, |_, _, _| {}));
        told.send(address.parse().expect("an address")).expect("the test waits");
    });
    served.dir = Some(dir);
    let address = address.recv_timeout(PATIENCE).expect("the node listens");
    (served, address)
}

/// Node 2, let in.
fn second(address: SocketAddr) -> Client {
    let mut client = Client::silent(address);
    client.send(&hello_frame(&hello(2, 1)));
    assert_eq!(client.next().expect("a welcome").0.kind, KIND_PEER_WELCOME);
    client
}

/// What a forwarded request of group 1 is answered.
fn forwarded(client: &mut Client, request: impl Into<Request>) -> Outcome {
    let request = request.into();
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, request.kind(), FLAG_FORWARDED, 5, Hlc::ZERO, |out| {
        out.extend_from_slice(&PeerPrelude { group: GroupId(1), from: ReplicaId(0), to: ReplicaId(0) }.encode());
        out.extend_from_slice(&RequestPrelude::default().encode());
        request.encode_body(out);
    });
    client.send(&bytes);
    let (header, payload) = client.next().expect("an answer");
    Outcome::decode(header.kind, &payload[PeerPrelude::BYTES..]).expect("an outcome")
}

#[test]
fn a_forwarded_command_of_the_system_ends_no_lease() {
    let (served, peer_address) = node();
    let mut client = Client::connect(served.address);
    let prelude = RequestPrelude { timeout_ms: 10_000, ..RequestPrelude::default() };
    let (name, owner) = (b"l".to_vec(), b"me".to_vec());
    let acquire = LockAcquire { name: name.clone(), owner, ttl_ms: 3_600_000, wait_ms: 0 };
    assert!(matches!(client.ask(&prelude, &acquire.into()), Outcome::Acquired(_)));
    let mut second = second(peer_address);
    let address = "127.0.0.1:1".to_owned();
    let info = NodeInfo {
        node: NodeId(3),
        incarnation: Incarnation(103),
        client_address: address.clone(),
        peer_address: address,
        shards: 1,
    };
    let commands: [Request; 4] = [
        Tick { to: u64::MAX }.into(),
        Tick { to: Hlc::from_millis(1 << 47).0 }.into(),
        UpsertNode { info }.into(),
        SetLed { group: GroupId(1) }.into(),
    ];
    for command in commands {
        match forwarded(&mut second, command.clone()) {
            Outcome::Error(error) => assert_eq!(error.code(), ErrorCode::BadRequest, "{command:?}: {}", error.text),
            other => panic!("{command:?}: {other:?}"),
        }
    }
    assert!(matches!(client.ask(&prelude, &LockInfo { name }.into()), Outcome::LockState(_)), "the lease goes on");
}
