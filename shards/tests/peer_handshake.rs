//! Who is let in, and what garbage leads to: an error frame that says why, then the end, and others unharmed.

mod peer_world;

use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::{
    ClusterId, ErrorCode, ErrorReply, Incarnation, NodeId, ShardId,
    frame::{FLAG_FORWARDED, FLAG_REPLY, access, archive_into, encode_frame, to_owned},
    handshake::{Hello, KIND_HELLO},
};
use kahuna_shards::{
    env::{Env, Listener},
    linux::{Linux, ShardOptions, spawn_shard},
    peer::{
        CallError, KIND_ERROR, KIND_PROBE, KIND_PROBE_REPLY, KIND_PULSE, LocalNode, Pulse,
        handshake::{KIND_PEER_WELCOME, PeerHello, PeerWelcome},
        listen_to_peers,
    },
};
use peer_world::*;
use rkyv::Archived;

const KIND_FOUNDING: u16 = 0x1005;

fn error_of(body: &[u8]) -> ErrorReply {
    to_owned(access::<Archived<ErrorReply>>(KIND_ERROR, body).expect("an error body"))
}

/// The error frame that ends the connection.
async fn refusal(wire: &mut Wire) -> ErrorReply {
    let (header, _, body) = wire.next().await.expect("an error frame");
    assert_eq!((header.kind, header.flags, header.request_id), (KIND_ERROR, FLAG_REPLY, 0));
    assert!(wire.next().await.is_none(), "then the end");
    error_of(&body)
}

async fn refused(address: &str, hello: &PeerHello) -> ErrorReply {
    let mut wire = Wire::dial(address).await;
    wire.send(&hello_frame(hello)).await;
    refusal(&mut wire).await
}

#[test]
fn only_the_right_node_of_the_right_cluster_is_let_in() {
    on_shard(async || {
        let (listener, address) = listen();
        let (second, _) = node(local(2, &address), listener);
        second.set_addresses(AddressSource::Listed, vec![(NodeId(1), Some(Incarnation(101)), "127.0.0.1:1".into())]);
        let good = hello(1, 2);
        let changed = |change: fn(&mut PeerHello)| {
            let mut hello = good.clone();
            change(&mut hello);
            hello
        };
        type Change = fn(&mut PeerHello);
        let cases: [(Change, ErrorCode, &str); 10] = [
            (|hello| hello.from.cluster = ClusterId([9; 16]), ErrorCode::WrongCluster, "belongs to cluster"),
            (
                |hello| hello.to_incarnation = Incarnation(555),
                ErrorCode::BadRequest,
                "wanted node 2 with the data directory",
            ),
            (|hello| hello.from.incarnation = Incarnation(777), ErrorCode::BadRequest, "the cluster knows node 1"),
            (|hello| hello.to_node = NodeId(3), ErrorCode::BadRequest, "wanted node 3 and reached node 2"),
            (|hello| hello.from.node = NodeId(2), ErrorCode::BadRequest, "two nodes have the number 2"),
            (|hello| hello.from.boot_id = 1002, ErrorCode::BadRequest, "reached itself"),
            (|hello| hello.min_version = 2, ErrorCode::BadVersion, "upgrade the older one"),
            (|hello| (hello.min_version, hello.max_version) = (0, 0), ErrorCode::BadVersion, "upgrade the older one"),
            (|hello| hello.from.shards = 0, ErrorCode::BadRequest, "out of range"),
            (|hello| hello.from.incarnation = Incarnation(0), ErrorCode::BadRequest, "out of range"),
        ];
        for (change, code, text) in cases {
            let error = refused(&address, &changed(change)).await;
            assert_eq!(error.code(), code, "{}", error.text);
            assert!(error.text.contains(text), "{}", error.text);
        }
        assert_eq!(second.peer(NodeId(1)), None, "nobody of these was believed");
        for change in [|_: &mut PeerHello| {}, |hello: &mut PeerHello| hello.from.cluster = ClusterId::NONE] {
            let mut wire = Wire::dial(&address).await;
            wire.send(&hello_frame(&changed(change))).await;
            let (header, _, body) = wire.next().await.expect("a welcome");
            let welcome = PeerWelcome::decode(header.kind, &body).expect("a welcome");
            assert_eq!(
                (welcome.version, welcome.from.node, welcome.from.incarnation),
                (1, NodeId(2), Incarnation(102))
            );
        }
    });
}

#[test]
fn a_pending_node_is_let_in_to_ask_for_the_founding_only() {
    on_shard(async || {
        let (listener, address) = listen();
        let (second, echo) = node(local(2, &address), listener);
        second.set_addresses(AddressSource::Listed, vec![(NodeId(1), Some(Incarnation(101)), "127.0.0.1:1".into())]);
        let mut member = hello(1, 2);
        member.from.cluster = ClusterId::NONE;
        let mut wire = Wire::dial(&address).await;
        wire.send(&hello_frame(&member)).await;
        assert_eq!(wire.next().await.map(|(header, ..)| header.kind), Some(KIND_PEER_WELCOME));
        for (kind, flags) in [(KIND_ECHO, 0), (0x0501, FLAG_FORWARDED)] {
            wire.send(&frame(kind, flags, 5, |out| out.extend_from_slice(b"of a group"))).await;
            let (header, _, body) = wire.next().await.expect("an answer");
            assert_eq!((header.kind, error_of(&body).code()), (KIND_ERROR, ErrorCode::NotReady), "{kind:#06x}");
        }
        assert!(echo.seen.borrow().is_empty(), "nothing of that was passed on");
        wire.send(&frame(KIND_FOUNDING, 0, 6, |_| {})).await;
        assert_eq!(wire.next().await.map(|(header, ..)| header.kind), Some(KIND_FOUNDING | 0x8000));
        // With the founding it knows its cluster, and says so.
        let joined = Pulse { boot_id: 1001, wall_ns: 0, agreed_ns: 0, cluster: CLUSTER, progress: Vec::new() };
        wire.send(&frame(KIND_PULSE, 0, 7, |out| archive_into(&joined, out))).await;
        assert!(wire.next().await.is_some(), "a pulse is answered");
        wire.send(&frame(KIND_ECHO, 0, 8, |out| out.extend_from_slice(b"of a group"))).await;
        assert_eq!(wire.next().await.map(|(header, ..)| header.kind), Some(KIND_ECHO | 0x8000));
    });
}

#[test]
fn a_dialler_refuses_who_is_not_the_one_it_wanted() {
    on_shard(async || {
        type Change = fn(&mut PeerWelcome);
        let cases: [(Change, &str); 5] = [
            (|welcome| welcome.from.incarnation = Incarnation(555), "start it with its old data directory"),
            (|welcome| welcome.from.node = NodeId(3), "reached node 3"),
            (|welcome| welcome.from.cluster = ClusterId([9; 16]), "belongs to cluster"),
            (|welcome| welcome.version = 9, "version 9"),
            (|welcome| welcome.from.shards = 0, "reached node"),
        ];
        for (change, text) in cases {
            let (mut listener, address) = listen();
            let first = peers(local(1, "nowhere:1"));
            first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
            let call = later(ask(&first, 102, b"for the old voter"));
            let mut wire = Wire::over(listener.accept().await.expect("dialled"));
            let (header, _, body) = wire.next().await.expect("a hello");
            let hello = PeerHello::decode(header.kind, &body).expect("a hello");
            assert_eq!(
                (hello.to_node, hello.to_incarnation, hello.from.node),
                (NodeId(2), Incarnation(102), NodeId(1))
            );
            let mut welcome = PeerWelcome { version: 1, from: introduction(2) };
            change(&mut welcome);
            wire.send(&answer_frame(KIND_PEER_WELCOME, 0, |out| welcome.encode(out))).await;
            let Err(CallError::NotSent(reason)) = call.await else { panic!("must not be sent: {text}") };
            assert!(reason.contains(text), "{reason}");
            assert!(wire.next().await.is_none(), "nothing but the hello was sent");
            assert_eq!(first.peer(NodeId(2)), None);
        }
    });
}

#[test]
fn a_node_that_dials_itself_or_a_namesake_finds_out() {
    on_shard(async || {
        let (listener, address) = listen();
        let (first, _) = node(local(1, &address), listener);
        first.set_addresses(
            AddressSource::Listed,
            vec![(NodeId(2), None, address.clone()), (NodeId(3), Some(Incarnation(103)), address)],
        );
        let Err(CallError::NotSent(reason)) = ask(&first, 103, b"").await else { panic!("that is not node 3") };
        assert!(reason.contains("reached itself under the address of node 3"), "{reason}");
    });
}

#[test]
fn a_wiped_node_is_met_anew_only_while_nothing_is_on_record() {
    on_shard(async || {
        let (listener, address) = listen();
        let (old, _) = node(local(2, &address), listener);
        let first = peers(local(1, "nowhere:1"));
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), None, address)]);
        Linux::spawn(kahuna_shards::peer::watch_nodes(first.clone(), false, |_| {}, |_| {}));
        until("node 2 is known", || first.incarnation_of(NodeId(2)) == Some(Incarnation(102))).await;
        old.close();
        let (listener, address) = listen();
        let wiped = LocalNode { incarnation: Incarnation(999), boot_id: 5, ..local(2, &address) };
        let (wiped, echo) = node(wiped, listener);
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), None, address.clone())]);
        until("the new one is known", || first.incarnation_of(NodeId(2)) == Some(Incarnation(999))).await;
        assert!(matches!(ask(&first, 102, b"x").await, Err(CallError::NotSent(_))), "the old one is gone");
        ask(&first, 999, b"x").await.expect("an answer");
        // From now on the cluster has the old one on record.
        echo.seen.borrow_mut().clear();
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
        assert!(matches!(ask(&first, 999, b"x").await, Err(CallError::NotSent(_))));
        for _ in 0..20 {
            assert!(matches!(ask(&first, 102, b"x").await, Err(CallError::NotSent(_))));
            Linux::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert!(echo.seen.borrow().is_empty(), "it never saw what was meant for the old one");
        wiped.close();
    });
}

#[test]
fn garbage_gets_an_error_frame_and_harms_nobody() {
    on_shard(async || {
        let (first, second, _) = pair();
        ask(&first, 102, b"x").await.expect("an answer");
        let address = second.local().peer_address;
        let good = hello_frame(&hello(1, 2));
        let patched = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] ^= value;
            bytes
        };
        let too_long = {
            let mut bytes = good.clone();
            bytes[8..12].copy_from_slice(&(65_u32 << 10).to_le_bytes());
            bytes
        };
        let cases: [(Vec<u8>, ErrorCode, &str); 8] = [
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), ErrorCode::BadFrame, "bad magic"),
            (patched(4, 0x7f), ErrorCode::BadVersion, "version 126"),
            (patched(good.len() - 1, 1), ErrorCode::BadFrame, "CRC mismatch"),
            (patched(20, 1), ErrorCode::BadFrame, "CRC mismatch"),
            (too_long, ErrorCode::BadFrame, "over the limit"),
            (frame(KIND_PULSE, 0, 1, |_| {}), ErrorCode::BadFrame, "unknown kind 0x1002"),
            (frame(0x1001, 0, 0, |out| out.extend([0xff; 90])), ErrorCode::BadFrame, "does not validate"),
            (
                {
                    let mut bytes = Vec::new();
                    encode_frame(&mut bytes, 0x1001, 0, 0, kahuna_protocol::Hlc(1), |_| {});
                    bytes
                },
                ErrorCode::BadFrame,
                "prelude is malformed",
            ),
        ];
        for (bytes, code, text) in cases {
            let mut wire = Wire::dial(&address).await;
            wire.send(&bytes).await;
            let error = refusal(&mut wire).await;
            assert_eq!(error.code(), code, "{}", error.text);
            assert!(error.text.contains(text), "{text}: {}", error.text);
        }
        // Every prefix of a hello, then the end.
        for cut in (0..good.len()).step_by(17) {
            let mut wire = Wire::dial(&address).await;
            wire.send(&good[..cut]).await;
        }
        ask(&first, 102, b"y").await.expect("the good link is unharmed");
        assert_eq!(second.accepted_links(), 1);
    });
}

#[test]
fn garbage_after_the_handshake_ends_the_link_only() {
    on_shard(async || {
        let (first, second, echo) = pair();
        ask(&first, 102, b"x").await.expect("an answer");
        let address = second.local().peer_address;
        second.set_addresses(AddressSource::Listed, vec![(NodeId(3), Some(Incarnation(103)), "127.0.0.1:1".into())]);
        let mut bad_crc = frame(KIND_ECHO, 0, 9, |out| out.extend([1; 100]));
        *bad_crc.last_mut().expect("not empty") ^= 1;
        let mut oversized = frame(KIND_ECHO, 0, 9, |_| {});
        oversized[8..12].copy_from_slice(&(4_u32 << 20).wrapping_add(1).to_le_bytes());
        let cases: [(Vec<u8>, &str); 4] = [
            (bad_crc, "CRC mismatch"),
            (oversized, "over the limit"),
            (answer_frame(KIND_ECHO, 9, |_| {}), "an answer to no question"),
            (frame(KIND_PULSE, 0, 9, |out| out.push(1)), "does not validate"),
        ];
        for (bytes, text) in cases {
            let mut wire = Wire::dial(&address).await;
            wire.send(&hello_frame(&hello(3, 2))).await;
            let (header, ..) = wire.next().await.expect("a welcome");
            assert_eq!(header.kind, KIND_PEER_WELCOME);
            // A good question first: its answer must still come.
            wire.send(&frame(KIND_PROBE, 0, 8, |_| {})).await;
            let (header, ..) = wire.next().await.expect("an answer");
            assert_eq!((header.kind, header.request_id), (KIND_PROBE_REPLY, 8));
            let before = echo.seen.borrow().len();
            wire.send(&bytes).await;
            let mut error = None;
            while let Some((header, _, body)) = wire.next().await {
                assert_eq!(header.kind, KIND_ERROR);
                error = Some(error_of(&body).text);
            }
            let error = error.expect("an error frame");
            assert!(error.contains(text), "{error}");
            assert_eq!(echo.seen.borrow().len(), before, "nothing of it reached the node");
        }
        ask(&first, 102, b"y").await.expect("the good link is unharmed");
        until("only the good link is left", || second.accepted_links() == 1).await;
    });
}

#[test]
fn who_says_nothing_is_shown_the_door() {
    on_shard(async || {
        let (first, second, _) = pair();
        let address = second.local().peer_address;
        let mut silent = Wire::dial(&address).await;
        let mut half = Wire::dial(&address).await;
        half.send(&hello_frame(&hello(1, 2))[..40]).await;
        assert!(silent.next().await.is_none());
        assert!(half.next().await.is_none());
        ask(&first, 102, b"x").await.expect("others are served meanwhile");
    });
}

#[test]
fn a_second_link_of_one_shard_replaces_the_first() {
    on_shard(async || {
        let (listener, address) = listen();
        let (second, _) = node(local(2, &address), listener);
        let mut wires = Vec::new();
        for _ in 0..3 {
            let mut wire = Wire::dial(&address).await;
            wire.send(&hello_frame(&hello(1, 2))).await;
            wire.next().await.expect("a welcome");
            wires.push(wire);
        }
        // Half-open ones of a peer that lost its power do not pile up.
        assert_eq!(second.accepted_links(), 1);
        let mut last = wires.pop().expect("three");
        for mut wire in wires {
            assert!(wire.next().await.is_none());
        }
        last.send(&frame(KIND_PROBE, 0, 8, |_| {})).await;
        assert_eq!(last.next().await.expect("an answer").0.kind, KIND_PROBE_REPLY);
    });
}

#[test]
fn a_link_goes_to_the_shard_that_owns_the_group() {
    // Node 2 runs three shards on three threads, which all accept on one port.
    const SHARDS: u16 = 3;
    let (address_in, address) = flume::bounded(1);
    let (stop_in, stop) = flume::bounded::<()>(0);
    type Detached = std::os::fd::OwnedFd;
    let lanes: Vec<_> = (0..SHARDS).map(|_| flume::unbounded::<(Detached, Bytes)>()).collect();
    let inlets: Vec<_> = lanes.iter().map(|(inlet, _)| inlet.clone()).collect();
    let mut handles = Vec::new();
    let mut port = "127.0.0.1:0".parse().expect("an address");
    for (shard, (_, outlet)) in (0..SHARDS).zip(lanes) {
        let (inlets, stop, address_in) = (inlets.clone(), stop.clone(), address_in.clone());
        let handle = spawn_shard(ShardOptions::new(usize::from(shard)), move || async move {
            use kahuna_shards::{env::Net, linux::Tcp};
            let listener = Tcp::listen(port, true).expect("a shared port");
            let bound = listener.local_addr().expect("an address");
            let local = LocalNode { shard: ShardId(shard), shards: SHARDS, ..local(2, &bound.to_string()) };
            let peers = peers(local);
            let echo = Rc::new(Echo::default());
            peers.set_handler(echo.clone());
            Linux::spawn(listen_to_peers(peers.clone(), listener, move |to, connection, read| {
                inlets[usize::from(to.0)].send((connection, read)).expect("the shard runs");
            }));
            address_in.send_async(bound).await.expect("the test waits");
            let adopting = peers.clone();
            Linux::spawn(async move {
                while let Ok((connection, read)) = Linux::across_threads(outlet.recv_async()).await {
                    adopting.adopt(connection, read);
                }
            });
            let _ = Linux::across_threads(stop.recv_async()).await;
            let groups: Vec<u32> = echo.seen.borrow().iter().map(|(_, prelude, _)| prelude.group.0).collect();
            (groups, peers.accepted_links())
        })
        .expect("a shard");
        handles.push(handle);
        port = address.recv().expect("the shard listens");
    }
    let first_shards = [0_usize, 1].map(|shard| {
        let address = port.to_string();
        spawn_shard(ShardOptions::new(10 + shard), move || async move {
            let local = LocalNode { shard: ShardId(shard as u16), shards: 2, ..local(1, "nowhere:1") };
            let first = peers(local);
            first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
            // All at once: the first ones are queued before anybody knows how many shards there are.
            let calls: Vec<_> = (0..30_u32).map(|id| ask_group(&first, 102, id, &id.to_le_bytes())).collect();
            for (call, id) in calls.into_iter().zip(0_u32..) {
                assert_eq!(call.await.expect("an answer").body[..], id.to_le_bytes());
            }
        })
        .expect("a shard")
    });
    for handle in first_shards {
        handle.join();
    }
    drop(stop_in);
    for (shard, handle) in (0..u32::from(SHARDS)).zip(handles) {
        let (groups, links) = handle.join();
        let own: Vec<u32> = (0..30).filter(|id| id % u32::from(SHARDS) == shard).collect();
        assert_eq!(groups.len(), 2 * own.len(), "shard {shard}: {groups:?}");
        assert!(groups.iter().all(|id| own.contains(id)), "shard {shard}: {groups:?}");
        // The dialling shards are gone; their links may be too.
        assert!(links <= 2, "one link per pair of shards, not {links}");
    }
}

#[test]
fn a_client_is_sent_away_in_its_own_words() {
    on_shard(async || {
        let (listener, address) = listen();
        let mut second = local(2, &address);
        second.client_address = "clients.example:2070".to_owned();
        let (second, _) = node(second, listener);
        let mut wire = Wire::dial(&address).await;
        let hello = Hello {
            min_version: 1,
            max_version: 1,
            shard: ShardId(0),
            cluster: ClusterId::NONE,
            client_name: String::new(),
        };
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, KIND_HELLO, 0, 7, kahuna_protocol::Hlc(1), |out| archive_into(&hello, out));
        wire.send(&bytes).await;
        let (header, payload) = wire.next_raw().await.expect("an error frame");
        assert_eq!((header.kind, header.request_id), (KIND_ERROR, 7));
        let error = error_of(&payload);
        assert_eq!(error.code(), ErrorCode::BadRequest);
        assert!(error.text.contains("clients connect to clients.example:2070"), "{}", error.text);
        assert!(wire.next_raw().await.is_none(), "then the end");
        assert_eq!(second.peer(NodeId(1)), None);
    });
}
