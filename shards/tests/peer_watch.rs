//! Liveness: who comes, who dies, who hangs, who was restarted.

mod peer_world;

use std::{cell::RefCell, rc::Rc, time::Duration};

use kahuna_protocol::{Incarnation, NodeId};
use kahuna_shards::{
    env::{Env, Listener},
    linux::{Linux, ShardOptions, spawn_shard},
    peer::{
        KIND_PULSE, LocalNode, NodeEvent, Peers, handshake::KIND_PEER_WELCOME, handshake::PeerWelcome, watch_nodes,
    },
};
use peer_world::*;

type Events = Rc<RefCell<Vec<NodeEvent>>>;

fn watch(peers: &Rc<Peers<Linux>>) -> Events {
    let events = Events::default();
    let told = events.clone();
    Linux::spawn(watch_nodes(peers.clone(), false, move |event| told.borrow_mut().push(event), |_| {}));
    events
}

fn up(boot_id: u64) -> NodeEvent {
    NodeEvent::Up { node: NodeId(2), incarnation: Incarnation(102), boot_id }
}

const DOWN: NodeEvent = NodeEvent::Down { node: NodeId(2), incarnation: Incarnation(102) };

async fn saw(events: &Events, expected: &[NodeEvent]) {
    until("the next event", || events.borrow().len() >= expected.len()).await;
    assert_eq!(*events.borrow(), expected);
}

#[test]
fn a_node_that_dies_and_comes_back_is_noticed() {
    on_shard(async || {
        let (listener, address) = listen();
        let (second, _) = node(local(2, &address), listener);
        let first = peers(local(1, "nowhere:1"));
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
        let events = watch(&first);
        saw(&events, &[up(1002)]).await;
        second.close();
        saw(&events, &[up(1002), DOWN]).await;
        let (listener, address) = listen();
        let (_third, _) = node(LocalNode { boot_id: 77, ..local(2, &address) }, listener);
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
        saw(&events, &[up(1002), DOWN, up(77)]).await;
    });
}

#[test]
fn a_restart_between_two_heartbeats_is_a_death_too() {
    on_shard(async || {
        let (first_listener, first_address) = listen();
        let (listener, address) = listen();
        let (second, _) = node(local(2, &address), listener);
        let (first, _) = node(local(1, &first_address), first_listener);
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
        let events = watch(&first);
        saw(&events, &[up(1002)]).await;
        // The new process introduces itself before the old one's links are seen to break.
        let (listener, address) = listen();
        let (third, _) = node(LocalNode { boot_id: 77, ..local(2, &address) }, listener);
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
        third.set_addresses(AddressSource::Listed, vec![(NodeId(1), Some(Incarnation(101)), first_address)]);
        ask(&third, 101, b"x").await.expect("an answer");
        second.close();
        saw(&events, &[up(1002), DOWN, up(77)]).await;
    });
}

#[test]
fn a_node_that_hangs_is_dead_until_it_speaks_again() {
    on_shard(async || {
        let (mut listener, address) = listen();
        let first = peers(local(1, "nowhere:1"));
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
        let events = watch(&first);
        let mut wire = Wire::over(listener.accept().await.expect("dialled"));
        wire.next().await.expect("a hello");
        let welcome = PeerWelcome { version: 1, from: introduction(2) };
        wire.send(&answer_frame(KIND_PEER_WELCOME, 0, |out| welcome.encode(out))).await;
        for _ in 0..3 {
            pulse(&mut wire).await;
        }
        saw(&events, &[up(1002)]).await;
        // Questions come, no answer goes, the connection stands.
        saw(&events, &[up(1002), DOWN]).await;
        assert!(first.peer(NodeId(2)).is_some());
        while events.borrow().len() == 2 {
            pulse(&mut wire).await;
        }
        saw(&events, &[up(1002), DOWN, up(1002)]).await;
    });
}

/// Answers the next heartbeat, whichever it is.
async fn pulse(wire: &mut Wire) {
    pulse_after(wire, async || {}).await;
}

async fn pulse_after(wire: &mut Wire, before: impl AsyncFnOnce()) {
    let Some((header, _, body)) = wire.next().await else { return std::future::pending().await };
    before().await;
    assert_eq!(header.kind, KIND_PULSE);
    // The same clock; only the boot is another.
    let mut pulse = kahuna_protocol::frame::to_owned::<kahuna_shards::peer::Pulse, _>(
        kahuna_protocol::frame::access::<rkyv::Archived<kahuna_shards::peer::Pulse>>(header.kind, &body)
            .expect("a pulse"),
    );
    pulse.boot_id = 1002;
    wire.send(&answer_frame(KIND_PULSE | 0x8000, header.request_id, |out| {
        kahuna_protocol::frame::archive_into(&pulse, out);
    }))
    .await;
}

#[test]
fn a_shard_that_did_not_run_does_not_blame_the_others() {
    let (address_in, address) = flume::bounded(1);
    let (asked_in, asked) = flume::unbounded();
    let (stop_in, stop) = flume::bounded::<()>(0);
    // Node 2 takes its time, so that a question is out when node 1 stands still.
    let second = spawn_shard(ShardOptions::new(1), move || async move {
        let (mut listener, address) = listen();
        address_in.send_async(address).await.expect("the test waits");
        let answering = async move {
            let mut wire = Wire::over(listener.accept().await.expect("dialled"));
            wire.next().await.expect("a hello");
            let welcome = PeerWelcome { version: 1, from: introduction(2) };
            wire.send(&answer_frame(KIND_PEER_WELCOME, 0, |out| welcome.encode(out))).await;
            loop {
                pulse_after(&mut wire, async || {
                    asked_in.send(()).expect("the test runs");
                    Linux::sleep(Duration::from_millis(30)).await;
                })
                .await;
            }
        };
        futures_util::future::select(Box::pin(answering), Linux::across_threads(stop.into_recv_async())).await;
    })
    .expect("a shard");
    let address = address.recv().expect("the shard listens");
    on_shard(async move || {
        let first = peers(local(1, "nowhere:1"));
        first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), address)]);
        let events = watch(&first);
        saw(&events, &[up(1002)]).await;
        for _ in 0..3 {
            while asked.try_recv().is_ok() {}
            Linux::across_threads(asked.recv_async()).await.expect("node 2 runs");
            // As if the machine had been suspended. The answer comes meanwhile.
            let from = Linux::boot_clock();
            while Linux::boot_clock() - from < Duration::from_millis(700) {
                std::hint::spin_loop();
            }
            Linux::sleep(Duration::from_millis(120)).await;
        }
        assert_eq!(*events.borrow(), [up(1002)]);
        first.close();
    });
    drop(stop_in);
    second.join();
}
