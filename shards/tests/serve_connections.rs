//! A client connection lives by its frames: what is no frame gets one error frame and a close, what no limit allows is
//! refused, and none of it touches another connection. Shards without groups serve real sockets on loopback.

mod serve_support;

use kahuna_protocol::frame::archive_into;
use kahuna_protocol::handshake::{ANY_SHARD, KIND_HELLO};
use kahuna_protocol::key::{Condition, KeyGet, KeySet};
use kahuna_protocol::meta::{MapGet, StatusGet, Tick};
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{
    ClusterId, Durability, ErrorCode, Header, Limits, NodeId, Outcome, Request, RequestPrelude, ShardId,
};
use kahuna_shards::env::Env;
use kahuna_shards::linux::Linux;
use kahuna_shards::peer::handshake::KIND_PEER_HELLO;
use serve_support::{Client, Gauge, Served, frame, hello, request_frame, serve};

fn empty_shards(shards: u16) -> Served {
    serve(shards, Limits::default(), |_| async {})
}

fn get(key: &[u8]) -> Request {
    Request::KeyGet(KeyGet { key: key.to_vec(), revision: None, as_of: None })
}

fn set(key: &[u8], value: Vec<u8>) -> Request {
    Request::KeySet(KeySet {
        key: key.to_vec(),
        value,
        ttl_ms: None,
        condition: Condition::default(),
        no_history: false,
    })
}

fn map() -> Request {
    Request::MapGet(MapGet {})
}

fn ask_map(client: &mut Client) {
    assert!(matches!(client.ask(&RequestPrelude::default(), &map()), Outcome::Map(_)));
}

#[test]
fn bad_frames_get_one_error_frame_and_a_close_and_harm_nobody() {
    let served = empty_shards(1);
    let mut bystander = Client::connect(served.address);
    let good = request_frame(3, &RequestPrelude::default(), &map());
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    let mut oversized = good.clone();
    oversized[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    oversized.resize(1 << 20, 0);
    let cases: Vec<(&str, Vec<u8>, ErrorCode, u64)> = vec![
        ("magic", changed(0, b'X'), ErrorCode::BadFrame, 0),
        ("version", changed(4, 9), ErrorCode::BadVersion, 0),
        ("checksum", changed(good.len() - 1, 0xff), ErrorCode::BadFrame, 0),
        ("length", oversized, ErrorCode::TooLarge, 0),
        ("an unknown kind", frame(0x7777, 3, |out| out.extend([0; 40])), ErrorCode::BadFrame, 3),
        ("a reply's kind", frame(0x8203, 3, |out| out.extend([0; 80])), ErrorCode::BadFrame, 3),
        ("no prelude", frame(0x0202, 3, |_| {}), ErrorCode::BadFrame, 3),
        ("a second hello", frame(KIND_HELLO, 3, |out| archive_into(&hello(ANY_SHARD), out)), ErrorCode::BadFrame, 3),
        ("garbage for a body", frame(0x0202, 3, |out| out.extend([0xee; 90])), ErrorCode::BadFrame, 3),
        ("text", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), ErrorCode::BadFrame, 0),
    ];
    for (what, bytes, code, request_id) in cases {
        for greeted in [true, false] {
            let mut client = if greeted { Client::connect(served.address) } else { Client::silent(served.address) };
            client.send(&bytes);
            let (answered, outcome) = client.answer();
            let Outcome::Error(error) = outcome else { panic!("{what}: {outcome:?}") };
            if greeted {
                assert_eq!((error.code(), answered), (code, request_id), "{what}: {}", error.text);
            } else if what != "a second hello" {
                assert!(matches!(error.code(), ErrorCode::BadFrame | ErrorCode::BadVersion | ErrorCode::TooLarge));
            }
            client.expect_closed();
            if what == "a second hello" {
                break;
            }
        }
        ask_map(&mut bystander);
    }
}

#[test]
fn frames_are_read_however_the_stream_is_cut() {
    let served = empty_shards(1);
    let mut client = Client::connect(served.address);
    let one = request_frame(1, &RequestPrelude::default(), &map());
    let two = request_frame(2, &RequestPrelude::default(), &map());
    let stream = [one, two].concat();
    for cut in [1, Header::BYTES - 1, Header::BYTES, Header::BYTES + 1, stream.len() / 2, stream.len() - 1] {
        client.send(&stream[..cut]);
        client.send(&stream[cut..]);
        let mut answered = [client.answer().0, client.answer().0];
        answered.sort_unstable();
        assert_eq!(answered, [1, 2], "cut at {cut}");
    }
}

#[test]
fn a_client_that_stops_sending_still_gets_its_answers() {
    let served = empty_shards(1);
    let mut client = Client::connect(served.address);
    let ids: Vec<_> = (0..100).map(|_| client.request(&RequestPrelude::default(), &map())).collect();
    client.finish_sending();
    let mut answered: Vec<_> = ids.iter().map(|_| client.answer().0).collect();
    answered.sort_unstable();
    assert_eq!(answered, ids);
    client.expect_closed();
}

#[test]
fn a_greeting_is_refused_for_version_and_cluster() {
    let served = serve(1, Limits::default(), |shards| async move {
        shards[0].view().join(ClusterId([7; 16]));
    });
    let refused = |hello: &kahuna_protocol::handshake::Hello| {
        let mut client = Client::silent(served.address);
        client.send(&frame(KIND_HELLO, 5, |out| archive_into(hello, out)));
        let error = client.error();
        client.expect_closed();
        error
    };
    let newer = kahuna_protocol::handshake::Hello { min_version: 2, max_version: 9, ..hello(ANY_SHARD) };
    let error = refused(&newer);
    assert_eq!(error.code(), ErrorCode::BadVersion);
    assert!(error.text.contains("2 to 9") && error.text.contains("1 to 1"), "{}", error.text);

    let foreign = kahuna_protocol::handshake::Hello { cluster: ClusterId([8; 16]), ..hello(ANY_SHARD) };
    assert_eq!(refused(&foreign).code(), ErrorCode::WrongCluster);

    let own = kahuna_protocol::handshake::Hello { cluster: ClusterId([7; 16]), ..hello(ANY_SHARD) };
    let (mut client, welcome) = Client::greet(served.address, &own);
    assert_eq!((welcome.version, welcome.node, welcome.cluster), (1, NodeId(1), ClusterId([7; 16])));
    assert_eq!(welcome.limits, Limits::default());
    ask_map(&mut client);
}

#[test]
fn a_client_is_handed_to_the_shard_it_wishes_for_with_what_it_sent() {
    let served = empty_shards(3);
    for wish in [2, 1, 0].map(ShardId) {
        let mut client = Client::silent(served.address);
        let greeting = frame(KIND_HELLO, 9, |out| archive_into(&hello(wish), out));
        // A request and a half behind the greeting travel along.
        let request = request_frame(1, &RequestPrelude::default(), &map());
        let again = request_frame(2, &RequestPrelude::default(), &map());
        client.send(&[&greeting[..], &request, &again[..20]].concat());
        let (header, payload) = client.next().expect("a welcome");
        let welcome =
            kahuna_protocol::frame::access::<kahuna_protocol::handshake::ArchivedWelcome>(header.kind, &payload);
        assert_eq!(welcome.expect("a welcome").shard.0.to_native(), wish.0);
        assert_eq!(client.answer().0, 1);
        client.send(&again[20..]);
        assert_eq!(client.answer().0, 2);
    }
    // A wish for a shard that is not there, from an old map: whoever accepted serves.
    let (_, welcome) = Client::greet(served.address, &hello(ShardId(40)));
    assert_eq!(welcome.shard, ShardId(0));
}

#[test]
fn what_is_not_for_clients_or_not_served_is_refused_and_the_connection_stays() {
    let served = empty_shards(1);
    let mut client = Client::connect(served.address);
    let plain = RequestPrelude::default();
    let refusal = |outcome: Outcome| match outcome {
        Outcome::Error(error) => error,
        other => panic!("an error was expected: {other:?}"),
    };

    let error = refusal(client.ask(&plain, &Request::Tick(Tick { to: 1 })));
    assert_eq!(error.code(), ErrorCode::BadRequest);

    let ephemeral = RequestPrelude { durability: Durability::Ephemeral, ..plain };
    assert_eq!(refusal(client.ask(&ephemeral, &set(b"a", vec![1]))).code(), ErrorCode::Unsupported);

    let error = refusal(client.ask(&plain, &get(b"")));
    assert_eq!(error.code(), ErrorCode::BadRequest);

    let value = vec![0; Limits::default().max_value_bytes as usize + 1];
    let error = refusal(client.ask(&plain, &set(b"a", value)));
    assert_eq!(error.code(), ErrorCode::TooLarge);
    assert!(error.text.contains("max_value_bytes"), "{}", error.text);

    // No map yet: the node is not part of a running cluster.
    let error = refusal(client.ask(&plain, &get(b"a")));
    assert_eq!(error.code(), ErrorCode::NotReady);
    assert!(error.retry_after_ms > 0);
    ask_map(&mut client);
}

#[test]
fn status_is_gathered_from_all_shards() {
    let served = serve(2, Limits::default(), |shards| async move {
        shards[1].set_waiting("node 3 at 127.0.0.1:1");
    });
    let _others: Vec<_> = [0, 1, 1].map(|wish| Client::greet(served.address, &hello(ShardId(wish)))).into();
    let mut client = Client::connect(served.address);
    let Outcome::Status(status) = client.ask(&RequestPrelude::default(), &Request::StatusGet(StatusGet {})) else {
        panic!("a status was expected");
    };
    assert_eq!((status.node, status.shards, status.incarnation), (NodeId(1), 2, serve_support::INCARNATION));
    assert_eq!(status.connections, 4);
    assert_eq!(status.waiting, "node 3 at 127.0.0.1:1");
}

/// The resident memory of this process in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

#[test]
fn a_client_that_does_not_read_is_not_read_from_and_costs_little_memory() {
    const REQUESTS: usize = 1500;
    let served = serve(1, Limits::default(), |shards| async move {
        let ranges = kahuna_protocol::RangeMap::even(2000);
        shards[0].view().set_map(kahuna_protocol::meta::Map { ranges, nodes: Vec::new() });
    });
    let mut bystander = Client::connect(served.address);
    let before = resident_bytes();
    let mut greedy = Client::connect(served.address);
    let ids: Vec<_> = (0..REQUESTS).map(|_| greedy.request(&RequestPrelude::default(), &map())).collect();
    for _ in 0..50 {
        ask_map(&mut bystander);
    }
    let grown = resident_bytes().saturating_sub(before);

    let first = greedy.next().expect("an answer");
    let all_answers = (Header::BYTES + first.1.len()) as u64 * REQUESTS as u64;
    assert!(all_answers > 64 << 20, "the answers are too short to prove anything: {all_answers}");
    assert!(grown < 24 << 20, "{grown} bytes were held for a client that does not read");
    let mut answered: Vec<_> = ids[1..].iter().map(|_| greedy.next().expect("an answer").0.request_id).collect();
    answered.push(first.0.request_id);
    answered.sort_unstable();
    assert_eq!(answered, ids, "every request is answered once the client reads");
}

/// Limits of which a shard's budgets are some MiB.
fn small_limits() -> Limits {
    Limits { max_value_bytes: 64 << 10, max_page_bytes: 64 << 10, max_frame_bytes: 128 << 10, ..Limits::default() }
}

/// One shard with a map of 200 ranges, some 6 kB, and a gauge of `number`.
fn mapped_shard(number: fn(&kahuna_shards::shard::Shard<Linux>) -> usize) -> (Served, Gauge) {
    let (gauge, gauged) = Gauge::new();
    let served = serve(1, small_limits(), move |shards| async move {
        let ranges = kahuna_protocol::RangeMap::even(200);
        shards[0].view().set_map(kahuna_protocol::meta::Map { ranges, nodes: Vec::new() });
        let shard = shards[0].clone();
        Linux::spawn(gauged.answer(move || number(&shard)));
    });
    (served, gauge)
}

#[test]
fn clients_that_do_not_read_hold_no_more_than_their_shard_allows_and_others_are_served() {
    const CLIENTS: usize = 60;
    const REQUESTS: usize = 2000;
    let (served, held) = mapped_shard(|shard| shard.unsent().held());
    let mut bystander = Client::connect(served.address);
    let before = resident_bytes();
    let mut greedy: Vec<_> = (0..CLIENTS).map(|_| Client::connect(served.address)).collect();
    for client in &mut greedy {
        (0..REQUESTS).for_each(|_| _ = client.request(&RequestPrelude::default(), &map()));
    }
    // The last of their requests is looked at before what the bystander asks now.
    let most = small_limits().shard_unsent_bytes();
    for _ in 0..50 {
        ask_map(&mut bystander);
        let held = held.read();
        assert!(held <= most, "{held} bytes are held, {most} may be");
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 2 * most as u64, "{grown} bytes were taken for clients that do not read");

    // Whoever reads now gets an answer to every request, a short one where the long one found no room.
    let reader = &mut greedy[CLIENTS / 2];
    let (mut maps, mut refused) = (0, 0);
    for _ in 0..REQUESTS {
        match reader.answer().1 {
            Outcome::Map(_) => maps += 1,
            Outcome::Error(error) if error.code() == ErrorCode::Busy && error.retry_after_ms > 0 => refused += 1,
            other => panic!("a map was expected, or a refusal: {other:?}"),
        }
    }
    assert!(maps > 0, "{maps} maps, {refused} refusals");
    drop(greedy);
    held.until("all was given back", |held| held == 0);
}

#[test]
fn clients_that_take_nothing_are_closed_when_others_need_the_room() {
    let (served, held) = mapped_shard(|shard| shard.unsent().held());
    let mut greedy: Vec<_> = (0..60).map(|_| Client::connect(served.address)).collect();
    for client in &mut greedy {
        (0..300).for_each(|_| _ = client.request(&RequestPrelude::default(), &map()));
    }
    let pressed = small_limits().shard_unsent_bytes() / 8 * 3;
    held.until("the room is used up", |held| held > pressed);
    // None of them reads, and none of them leaves.
    held.until("room was made", |held| held < pressed);
}

#[test]
fn half_frames_hold_no_more_than_their_shard_allows_and_whole_ones_are_served() {
    const CLIENTS: usize = 200;
    let (served, held) = mapped_shard(|shard| shard.unread());
    let mut bystander = Client::connect(served.address);
    let long = request_frame(1, &RequestPrelude::default(), &set(b"a", vec![7; 60 << 10]));
    let mut halves: Vec<_> = (0..CLIENTS).map(|_| Client::connect(served.address)).collect();
    // A connection that is not read, or was closed, may not take all of it.
    for client in &mut halves {
        client.stream.set_write_timeout(Some(std::time::Duration::from_millis(1))).expect("a timeout");
        let _ = std::io::Write::write_all(&mut client.stream, &long[..50 << 10]);
    }
    let most = small_limits().shard_unread_bytes();
    for _ in 0..50 {
        ask_map(&mut bystander);
        let held = held.read();
        assert!(held <= most, "{held} bytes are held, {most} may be");
    }
    held.until("half frames are held", |held| held > most / 2);
    // One that is whole is read once those that do not get on are given up.
    let error = {
        bystander.send(&long);
        bystander.error()
    };
    assert_eq!(error.code(), ErrorCode::NotReady, "{}", error.text);
    drop(halves);
    held.until("all was given back", |held| held == 0);
}

#[test]
fn a_node_that_takes_the_clients_port_for_its_peers_is_told_in_its_own_words() {
    let served = empty_shards(1);
    let mut node = Client::silent(served.address);
    node.send(&frame(KIND_PEER_HELLO, 7, |out| out.extend([0; 200])));
    let (header, payload) = node.next().expect("an error frame");
    let (_, body) = PeerPrelude::split(&payload).expect("what stands before the body of every frame between nodes");
    assert_eq!(header.request_id, 7);
    let Ok(Outcome::Error(error)) = Outcome::decode(header.kind, body) else { panic!("{header:?}") };
    assert!(error.text.contains("port for clients"), "{}", error.text);
    node.expect_closed();
}
