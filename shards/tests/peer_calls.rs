//! Calls over a link: order, answers in any order, what a broken link says of each call, bounded queues, reconnection.

mod peer_world;

use std::{cell::Cell, rc::Rc, time::Duration};

use kahuna_protocol::{ClusterId, ErrorCode, GroupId, Hlc, Incarnation, NodeId, ReplicaId, ShardId};
use kahuna_shards::{
    env::{Env, Listener},
    linux::Linux,
    peer::{CallError, KIND_PROBE, KIND_PROBE_REPLY, LocalNode},
};
use peer_world::*;

#[test]
fn frames_arrive_in_the_order_of_the_calls_and_answers_find_their_call() {
    on_shard(async || {
        let (first, second, echo) = pair();
        // The first ones wait in the lobby, the later ones join an open link.
        let mut calls = Vec::new();
        for number in 0..2000_u32 {
            calls.push(ask_group(&first, 102, number % 3, &number.to_le_bytes()));
            if number % 250 == 249 {
                let answer = calls.pop().expect("just pushed").await.expect("an answer");
                assert_eq!(answer.body[..], number.to_le_bytes());
                assert_eq!(answer.kind, KIND_ECHO | 0x8000);
                assert!(answer.hlc > Hlc::ZERO);
            }
        }
        for (call, number) in calls.into_iter().zip((0..2000_u32).filter(|number| number % 250 != 249)) {
            assert_eq!(call.await.expect("an answer").body[..], number.to_le_bytes());
        }
        let seen = echo.seen.borrow();
        assert!(seen.iter().zip(0_u32..).all(|((_, _, body), number)| body[..] == number.to_le_bytes()));
        let (from, prelude, _) = &seen[1];
        assert_eq!((from.node, from.incarnation), (NodeId(1), Incarnation(101)));
        assert_eq!(*prelude, group(1));
        assert_eq!((second.accepted_links(), first.accepted_links()), (1, 0));
    });
}

#[test]
fn answers_come_in_any_order() {
    on_shard(async || {
        let (first, _second, echo) = pair();
        echo.hold.set(true);
        let calls: Vec<_> = (0..50_u8).map(|number| ask(&first, 102, &[number])).collect();
        until("all have arrived", || echo.held.borrow().len() == 50).await;
        for (body, reply) in echo.held.take().into_iter().rev() {
            reply.send(0x9101, |out| out.extend_from_slice(&body));
        }
        for (call, number) in calls.into_iter().zip(0..) {
            assert_eq!(call.await.expect("an answer").body[..], [number]);
        }
    });
}

#[test]
fn a_replier_that_is_dropped_answers_that_nothing_is_known() {
    on_shard(async || {
        let (first, _second, echo) = pair();
        echo.hold.set(true);
        let call = ask(&first, 102, b"x");
        until("it has arrived", || echo.held.borrow().len() == 1).await;
        echo.held.take();
        let Err(CallError::Refused(error, _)) = call.await else { panic!("an error frame") };
        assert_eq!(error.code(), ErrorCode::Unknown);
    });
}

#[test]
fn a_call_ends_at_its_limit_and_its_late_answer_harms_nobody() {
    on_shard(async || {
        let (first, _second, echo) = pair();
        echo.hold.set(true);
        let call = first.call(Incarnation(102), group(1), KIND_ECHO, 0, Duration::from_millis(20), |_| {});
        assert_eq!(call.await, Err(CallError::TimedOut));
        until("it has arrived", || echo.held.borrow().len() == 1).await;
        echo.hold.set(false);
        for (_, reply) in echo.held.take() {
            reply.send(0x9101, |_| {});
        }
        assert_eq!(ask(&first, 102, b"next").await.expect("the link still works").body[..], b"next"[..]);
    });
}

#[test]
fn who_is_not_known_or_not_there_gets_nothing_sent() {
    on_shard(async || {
        let (first, _second, _) = pair();
        assert!(matches!(ask(&first, 999, b"").await, Err(CallError::NotSent(_))));
        // A port that nobody listens on.
        let (listener, address) = listen();
        drop(listener);
        first.set_addresses(AddressSource::Listed, vec![(NodeId(3), Some(Incarnation(103)), address)]);
        assert!(matches!(ask(&first, 103, b"").await, Err(CallError::NotSent(_))));
        // Now the link may not dial for a moment: calls fail at once.
        let mut call = std::pin::pin!(ask(&first, 103, b""));
        let at_once = futures_util::poll!(call.as_mut());
        assert!(matches!(at_once, std::task::Poll::Ready(Err(CallError::NotSent(_)))), "{at_once:?}");
    });
}

#[test]
fn a_broken_link_says_which_calls_may_have_arrived() {
    on_shard(async || {
        let (mut listener, address) = listen();
        let first = peers(local(1, "nowhere:1"));
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
        let calls = [ask(&first, 102, b"a"), ask(&first, 102, b"b")];
        let mut wire = Wire::over(listener.accept().await.expect("dialled"));
        wire.next().await.expect("a hello");
        wire.send(&welcome(2)).await;
        for _ in 0..2 {
            wire.next().await.expect("a question");
        }
        drop(wire);
        for call in calls {
            assert!(matches!(call.await, Err(CallError::Lost(_))));
        }
        // One that is refused before the first question goes out.
        let call = ask(&first, 102, b"c");
        let mut wire = Wire::over(listener.accept().await.expect("dialled again"));
        wire.next().await.expect("a hello");
        drop(wire);
        assert!(matches!(call.await, Err(CallError::NotSent(_))));
    });
}

fn welcome(node: u32) -> Vec<u8> {
    use kahuna_shards::peer::handshake::{KIND_PEER_WELCOME, PeerWelcome};
    let welcome = PeerWelcome { version: 1, from: introduction(node) };
    answer_frame(KIND_PEER_WELCOME, 0, |out| welcome.encode(out))
}

#[test]
fn a_node_that_comes_back_is_reached_again() {
    on_shard(async || {
        let (listener, address) = listen();
        let (second, _) = node(local(2, &address), listener);
        let first = peers(local(1, "nowhere:1"));
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address.clone())]);
        ask(&first, 102, b"x").await.expect("an answer");
        for boot in 1..4_u64 {
            // Its links end; then it is there again, the same data directory under another boot.
            let before = Rc::new(Cell::new(None));
            let (peers, seen) = (first.clone(), before.clone());
            second.close();
            let lost = later(async move {
                loop {
                    if let Err(error) = ask(&peers, 102, b"x").await {
                        seen.set(Some(error));
                        return;
                    }
                }
            });
            lost.await;
            assert!(matches!(before.take(), Some(CallError::Lost(_) | CallError::NotSent(_) | CallError::Refused(..))));
            let (listener, address) = listen();
            let (third, _) = node(LocalNode { boot_id: 5000 + boot, ..local(2, &address) }, listener);
            first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
            until_answered(&first).await;
            assert_eq!(first.peer(NodeId(2)).expect("introduced").boot_id, 5000 + boot);
            third.close();
        }
    });
}

async fn until_answered(first: &Rc<kahuna_shards::peer::Peers<Linux>>) {
    while let Err(error) = ask(first, 102, b"x").await {
        assert!(!matches!(error, CallError::Busy | CallError::TimedOut), "{error}");
        Linux::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_peer_that_never_reads_fills_the_queue_and_no_more() {
    on_shard(async || {
        let (mut listener, address) = listen();
        let first = peers(local(1, "nowhere:1"));
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
        let opening = later(ask(&first, 102, b""));
        let mut wire = Wire::over(listener.accept().await.expect("dialled"));
        wire.next().await.expect("a hello");
        wire.send(&welcome(2)).await;
        // It reads no more. The socket's buffers fill, then the queue, then calls are refused.
        let body = vec![0; 1 << 20];
        let mut waiting = vec![];
        let mut refused = None;
        for _ in 0..200 {
            let mut call = Box::pin(ask(&first, 102, &body));
            match futures_util::poll!(call.as_mut()) {
                std::task::Poll::Pending => waiting.push(call),
                std::task::Poll::Ready(result) => {
                    refused = Some(result);
                    break;
                }
            }
            Linux::yield_now().await;
        }
        assert_eq!(refused, Some(Err(CallError::Busy)), "after {} calls", waiting.len());
        drop(wire);
        for call in waiting {
            assert!(matches!(call.await, Err(CallError::Lost(_) | CallError::NotSent(_))));
        }
        assert!(opening.await.is_err());
    });
}

#[test]
fn peers_that_never_read_fill_no_more_than_the_shard_holds_and_leave_room_for_others() {
    const SILENT: u32 = 8;
    on_shard(async || {
        let (first, _second, _) = pair();
        let body = vec![0; 1 << 20];
        let (mut wires, mut waiting) = (Vec::new(), Vec::new());
        for node in 11..11 + SILENT {
            let (mut listener, address) = listen();
            let incarnation = 100 + u64::from(node);
            first.set_addresses(AddressSource::Listed, vec![(NodeId(node), Some(Incarnation(incarnation)), address)]);
            waiting.push(Box::pin(ask(&first, incarnation, b"")));
            let mut wire = Wire::over(listener.accept().await.expect("dialled"));
            wire.next().await.expect("a hello");
            wire.send(&welcome(node)).await;
            loop {
                let mut call = Box::pin(ask(&first, incarnation, &body));
                match futures_util::poll!(call.as_mut()) {
                    std::task::Poll::Pending => waiting.push(call),
                    std::task::Poll::Ready(result) => {
                        assert_eq!(result, Err(CallError::Busy));
                        break;
                    }
                }
                Linux::yield_now().await;
            }
            wires.push(wire);
        }
        let (held, most) = (first.unsent_bytes(), limits().shard_queue_bytes());
        assert!(held > most / 8 && held <= most, "{held} bytes wait in all links, {most} may");
        assert_eq!(ask(&first, 102, &body).await.expect("others are reached").body.len(), body.len());
        drop(wires);
        for call in waiting {
            assert!(call.await.is_err());
        }
        until("nothing waits any more", || first.unsent_bytes() == 0).await;
    });
}

#[test]
fn half_frames_of_other_nodes_hold_no_more_than_the_shard_allows_and_whole_ones_are_answered() {
    on_shard(async || {
        let (listener, address) = listen();
        let (second, _echo) = node(local(2, &address), listener);
        let most = limits().shard_unread_bytes();
        let half = frame(KIND_ECHO, 0, 1, |out| out.resize(out.len() + (3 << 20), b'x'));
        let half = Rc::<[u8]>::from(&half[..half.len() - 1]);
        let (leave, stay) = flume::bounded::<()>(0);
        // A link of each shard of that node: a second one of the same shard would take the place of the first.
        for shard in 0..u16::try_from(2 * most / half.len()).expect("some dozens") {
            let mut wire = Wire::dial(&address).await;
            let mut hello = hello(1, 2);
            (hello.from.shard, hello.from.shards) = (ShardId(shard), 64);
            wire.send(&hello_frame(&hello)).await;
            wire.next().await.expect("a welcome");
            let (half, stay) = (half.clone(), stay.clone());
            Linux::spawn(async move {
                let send = wire.send(&half);
                let _ = futures_util::future::select(
                    std::pin::pin!(send),
                    std::pin::pin!(Linux::across_threads(stay.recv_async())),
                )
                .await;
                let _ = Linux::across_threads(stay.recv_async()).await;
            });
        }
        until("half frames are held", || second.unread_bytes() > most / 2).await;
        let first = peers(local(3, "nowhere:1"));
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
        for _ in 0..20 {
            ask(&first, 102, b"short").await.expect("an answer");
            assert!(second.unread_bytes() <= most, "{} bytes are held, {most} may be", second.unread_bytes());
        }
        let long = vec![7; 2 << 20];
        assert_eq!(ask(&first, 102, &long).await.expect("an answer").body.len(), long.len());
        drop(leave);
        until("all was given back", || second.unread_bytes() == 0).await;
    });
}

#[test]
fn a_frame_longer_than_the_other_node_takes_is_not_sent() {
    on_shard(async || {
        let (first, _second, _) = pair();
        let most = first.max_frame_bytes() as usize - kahuna_protocol::peer::PeerPrelude::BYTES;
        let answer = ask(&first, 102, &vec![1; most]).await.expect("just fits");
        assert_eq!(answer.body.len(), most);
        assert!(matches!(ask(&first, 102, &vec![1; most + 1]).await, Err(CallError::NotSent(_))));
        assert_eq!(ask(&first, 102, b"fine").await.expect("the link still works").body[..], b"fine"[..]);
    });
}

#[test]
fn one_node_that_hangs_does_not_hold_up_another() {
    on_shard(async || {
        let (first, _second, _) = pair();
        let (_silent, address) = listen();
        first.set_addresses(AddressSource::Listed, vec![(NodeId(3), Some(Incarnation(103)), address)]);
        let stuck = later(ask(&first, 103, b"stuck"));
        for _ in 0..100 {
            ask(&first, 102, b"x").await.expect("an answer");
        }
        // Nobody accepts; the handshake gives up.
        assert!(matches!(stuck.await, Err(CallError::NotSent(_))));
    });
}

#[test]
fn a_link_that_nobody_reads_is_probed_before_it_is_given_up() {
    on_shard(async || {
        let (mut listener, address) = listen();
        let first = peers(local(1, "nowhere:1"));
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
        let long = later(ask(&first, 102, b"a long wait"));
        let mut wire = Wire::over(listener.accept().await.expect("dialled"));
        wire.next().await.expect("a hello");
        wire.send(&welcome(2)).await;
        let (question, ..) = wire.next().await.expect("the long wait");
        // Calls that go on without any sign of life bring a probe; its answer keeps the link.
        let probe = loop {
            drop(ask(&first, 102, b"more"));
            let (header, ..) = wire.next().await.expect("the link stands");
            if header.kind == KIND_PROBE {
                break header.request_id;
            }
            Linux::sleep(Duration::from_millis(10)).await;
        };
        wire.send(&answer_frame(KIND_PROBE_REPLY, probe, |_| {})).await;
        let mut late = Vec::new();
        kahuna_protocol::frame::encode_frame(&mut late, 0x9101, 1, question.request_id, Hlc(1), |out| {
            let mirrored =
                kahuna_protocol::peer::PeerPrelude { group: GroupId(5), from: ReplicaId(22), to: ReplicaId(11) };
            out.extend_from_slice(&mirrored.encode());
        });
        wire.send(&late).await;
        assert_eq!(long.await.expect("answered at last").kind, 0x9101);
    });
}

#[test]
fn an_answer_to_another_question_ends_the_link() {
    on_shard(async || {
        let (mut listener, address) = listen();
        let first = peers(local(1, "nowhere:1"));
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
        let call = later(ask(&first, 102, b"a"));
        let mut wire = Wire::over(listener.accept().await.expect("dialled"));
        wire.next().await.expect("a hello");
        wire.send(&welcome(2)).await;
        let (question, ..) = wire.next().await.expect("a question");
        // The right number, but the prelude of other replicas.
        wire.send(&answer_frame(0x9101, question.request_id, |_| {})).await;
        assert!(matches!(call.await, Err(CallError::Lost(_))));
        assert!(wire.next().await.is_none(), "closed");
    });
}

#[test]
fn views_show_what_the_other_end_said() {
    on_shard(async || {
        let (first_listener, first_address) = listen();
        let (second_listener, second_address) = listen();
        let listed = vec![(NodeId(1), first_address.clone()), (NodeId(2), second_address.clone())];
        let pending = |local: LocalNode| LocalNode { cluster: ClusterId::NONE, peer_set: listed.clone(), ..local };
        let (first, _) = node(pending(local(1, &first_address)), first_listener);
        let (second, _) = node(pending(local(2, &second_address)), second_listener);
        assert_eq!(first.peer(NodeId(2)), None);
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), None, second_address.clone())]);
        second.set_addresses(AddressSource::Listed, vec![(NodeId(1), None, first_address)]);
        assert_eq!(first.incarnation_of(NodeId(2)), None);
        Linux::spawn(kahuna_shards::peer::watch_nodes(first.clone(), false, |_| {}, |_| {}));
        // One end dials, both know.
        until("both are introduced", || first.peer(NodeId(2)).is_some() && second.peer(NodeId(1)).is_some()).await;
        let view = first.peer(NodeId(2)).expect("introduced");
        assert_eq!((view.incarnation, view.boot_id, view.shards), (Incarnation(102), 1002, 1));
        assert_eq!((view.cluster, view.peer_set), (ClusterId::NONE, listed));
        assert_eq!((view.client_address, view.peer_address), ("client-2:1".into(), second_address));
        assert_eq!(first.node_of(Incarnation(102)), Some(NodeId(2)));
        assert_eq!(first.node_of(Incarnation(101)), Some(NodeId(1)));
        // A cluster that one of them joins becomes known to the other.
        second.set_cluster(CLUSTER);
        until("the cluster is known", || first.peer(NodeId(2)).is_some_and(|view| view.cluster == CLUSTER)).await;
        assert_eq!(first.local().shard, ShardId(0));
    });
}
