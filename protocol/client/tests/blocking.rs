//! Claim: the blocking adapter does over real sockets what the core asks for: many requests at once, from many threads,
//! through lost connections, and it leaves nothing behind.

mod server;

use std::sync::Arc;
use std::time::Duration;

use kahuna_client::blocking::Client;
use kahuna_client::call::{AcquireAnswer, AllocateAnswer, GetAnswer, InfoAnswer, ReleaseAnswer, ScanAnswer, SetAnswer};
use kahuna_client::protocol::key::{KeyScan, KeySet};
use kahuna_client::protocol::sequence::SequenceNext;
use kahuna_client::wire::{ConnectOptions, Connection};
use kahuna_client::{CallOptions, ClientError, Options};
use kahuna_protocol::{NodeId, RequestPrelude, SessionId};
use server::{Server, Store};

fn client(servers: &[&Server]) -> Client {
    Client::new(Options::new(servers.iter().map(|server| server.endpoint.clone()))).expect("threads")
}

fn next() -> SequenceNext {
    SequenceNext { name: b"s".to_vec(), idempotency_key: Vec::new() }
}

#[test]
fn verbs_bring_typed_answers() {
    let store = Arc::new(Store::default());
    let server = Server::start(1, &store);
    let client = client(&[&server]);
    assert!(matches!(client.set("k", "v", None), Ok(SetAnswer::Set(set)) if set.revision == 1));
    assert!(matches!(client.get("k"), Ok(GetAnswer::Value(value)) if value.value == b"v"));
    assert!(matches!(client.get("none"), Ok(GetAnswer::NotFound(_))));
    let ttl = Duration::from_secs(10);
    let before = std::time::Instant::now();
    let Ok(AcquireAnswer::Acquired(grant)) = client.lock_acquire("l", "me", ttl) else { panic!("free") };
    assert_eq!(grant.token, 5);
    assert!(grant.safe.remaining() <= ttl.saturating_sub(before.elapsed()) + Duration::from_millis(1));
    assert!(!grant.safe.remaining().is_zero());
    assert!(matches!(client.lock_info("free"), Ok(InfoAnswer::NotHeld(_))));
    assert!(matches!(client.lock_release("l", "me"), Ok(ReleaseAnswer::Released(_))));
    assert_eq!(client.map().expect("a map").ranges.ranges.len(), 4);
    assert_eq!(client.status(server.endpoint.clone()).expect("a status").node, NodeId(1));
    assert!(matches!(client.persist("k"), Err(ClientError::Refused(_))));
    assert_eq!(server.accepted(), 1, "one connection for everything");
}

#[test]
fn a_scan_goes_through_all_its_pages() {
    let store = Arc::new(Store::default());
    let server = Server::start(1, &store);
    let client = client(&[&server]);
    for key in 0..7 {
        client.set(format!("b/{key}"), "v", None).expect("set");
    }
    let scan = KeyScan {
        space: b"b".to_vec(),
        from: Vec::new(),
        after: false,
        prefix: Vec::new(),
        limit: 3,
        as_of: None,
        keys_only: false,
    };
    let pages: Vec<_> = client.scan(scan).map(|page| page.expect("a page")).collect();
    let sizes: Vec<_> = pages
        .iter()
        .map(|page| match page {
            ScanAnswer::Page(page) => page.items.len(),
            ScanAnswer::Compacted(_) => panic!("nothing was collected"),
        })
        .collect();
    assert_eq!(sizes, [3, 3, 1]);
}

#[test]
fn many_under_way_are_answered_in_any_order() {
    let store = Arc::new(Store::default());
    let server = Server::start(1, &store);
    let client = client(&[&server]);
    client.sequence_next("s").expect("connected");
    server.reverse(256);
    let pending: Vec<_> = (0..256).map(|_| client.submit(next(), CallOptions::default())).collect();
    let drawn: Vec<_> = pending
        .into_iter()
        .map(|pending| match pending.wait() {
            Ok(AllocateAnswer::Allocated(allocated)) => allocated.start,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(drawn, (2..258).collect::<Vec<_>>());
}

#[test]
fn threads_share_one_client_and_one_connection() {
    let store = Arc::new(Store::default());
    let server = Server::start(1, &store);
    let client = client(&[&server]);
    client.sequence_next("s").expect("connected");
    let draw = |client: Client| {
        (0..200).map(move |_| match client.sequence_next("s") {
            Ok(AllocateAnswer::Allocated(allocated)) => allocated.start,
            other => panic!("{other:?}"),
        })
    };
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            std::thread::spawn(move || draw(client).collect::<Vec<_>>())
        })
        .collect();
    let mut all: Vec<i64> = threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
    all.sort_unstable();
    assert_eq!(all, (2..1602).collect::<Vec<_>>());
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_lost_answer_is_fetched_by_the_same_number_from_another_node() {
    let store = Arc::new(Store::default());
    let servers = [Server::start(1, &store), Server::start(2, &store)];
    let client = client(&[&servers[0], &servers[1]]);
    servers.iter().for_each(|server| server.swallow(1));
    assert!(matches!(client.set("k", "v", None), Ok(SetAnswer::Set(set)) if set.revision == 1));
    assert_eq!(store.applied(), 1, "swallowed twice, applied once");
    assert!(servers.iter().all(|server| server.accepted() >= 1));
}

#[test]
fn a_restarted_node_is_found_again() {
    let store = Arc::new(Store::default());
    let (mut first, second) = (Server::start(1, &store), Server::start(2, &store));
    let client = client(&[&first, &second]);
    for round in 1..=10 {
        assert!(matches!(client.set("k", "v", None), Ok(SetAnswer::Set(set)) if set.revision == 2 * round - 1));
        drop(first);
        assert!(matches!(client.set("k", "v", None), Ok(SetAnswer::Set(set)) if set.revision == 2 * round));
        first = Server::start(1, &store);
    }
}

#[test]
fn nobody_there_is_unavailable_and_a_mute_node_too() {
    let store = Arc::new(Store::default());
    let gone = Server::start(1, &store).endpoint.clone();
    let mute = Server::start_mute(2, &store);
    let options = CallOptions { timeout: Some(Duration::from_millis(300)), ..CallOptions::default() };
    for endpoint in [gone, mute.endpoint.clone()] {
        let client = Client::new(Options::new([endpoint])).expect("threads");
        let set = KeySet {
            key: b"k".to_vec(),
            value: Vec::new(),
            ttl_ms: None,
            condition: Default::default(),
            no_history: false,
        };
        match client.call_with(set, options.clone()) {
            Err(ClientError::Unavailable { text }) => assert!(text.contains("300ms"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_last_clone_dropped_closes_everything() {
    let store = Arc::new(Store::default());
    let server = Server::start(1, &store);
    let client = client(&[&server]);
    let clone = client.clone();
    client.get("k").expect("answered");
    drop(client);
    clone.get("k").expect("still answered");
    drop(clone);
    while !server.all_closed() {
        std::thread::yield_now();
    }
}

#[test]
fn a_raw_connection_carries_many_frames_in_one_write() {
    let store = Arc::new(Store::default());
    let server = Server::start(1, &store);
    let mut connection = Connection::connect(&server.endpoint, &ConnectOptions::default()).expect("welcome");
    assert_eq!(connection.welcome().node, NodeId(1));
    for id in 1..=256 {
        connection.queue(
            id,
            &RequestPrelude { session: SessionId(9), number: id, ..Default::default() },
            &next().into(),
        );
    }
    connection.flush().expect("written");
    for id in 1..=256 {
        assert_eq!(connection.recv().expect("an answer").0.request_id, id);
    }
    assert!(connection.recv_buffered().expect("good frames").is_none());
    let (sender, mut receiver) = connection.into_split();
    drop(sender);
    drop(server);
    assert!(receiver.recv().is_err(), "closed by the node");
}
