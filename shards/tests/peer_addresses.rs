//! Where a node is dialled: where it says it is, where others say it is, in turn until it is reached.

mod peer_world;

use kahuna_protocol::{Incarnation, NodeId};
use kahuna_shards::env::Env;
use kahuna_shards::linux::Linux;
use kahuna_shards::peer::{AddressSource, CallError, watch_nodes};
use peer_world::*;

const SECOND: (NodeId, Option<Incarnation>) = (NodeId(2), Some(Incarnation(102)));

/// An address where nobody listens any more.
fn deserted() -> String {
    listen().1
}

#[test]
fn a_node_that_moved_is_dialled_where_it_introduces_itself() {
    on_shard(async || {
        let (first_listener, first_address) = listen();
        let (first, _) = node(local(1, &first_address), first_listener);
        first.set_addresses(AddressSource::Recorded, vec![(SECOND.0, SECOND.1, deserted())]);
        assert!(matches!(ask(&first, 102, b"x").await, Err(CallError::NotSent(_))), "nobody is there");
        let (listener, address) = listen();
        let (second, _) = node(local(2, &address), listener);
        second.set_addresses(AddressSource::Listed, vec![(NodeId(1), Some(Incarnation(101)), first_address)]);
        ask(&second, 101, b"here I am").await.expect("the first one is where it was");
        ask(&first, 102, b"found").await.expect("reached at once where it is now");
    });
}

#[test]
fn every_address_is_tried_until_one_is_the_nodes() {
    on_shard(async || {
        let (stranger_listener, stranger) = listen();
        let (_stranger, _) = node(local(3, &stranger), stranger_listener);
        let (listener, address) = listen();
        let (_second, _) = node(local(2, &address), listener);
        let first = peers(local(1, "nowhere:1"));
        for (source, known) in [
            (AddressSource::Listed, address),
            (AddressSource::Told, stranger),
            (AddressSource::Recorded, "no-such-host.invalid:1".to_owned()),
        ] {
            first.set_addresses(source, vec![(SECOND.0, SECOND.1, known)]);
        }
        Linux::spawn(watch_nodes(first.clone(), false, |_| {}, |_| {}));
        until("the node is reached", || first.peer(NodeId(2)).is_some()).await;
        ask(&first, 102, b"x").await.expect("it stays reached");
    });
}

#[test]
fn news_of_another_address_leaves_an_open_link_alone() {
    on_shard(async || {
        let (first, second, echo) = pair();
        echo.hold.set(true);
        let waiting = ask(&first, 102, b"x");
        until("the question is there", || !echo.held.borrow().is_empty()).await;
        first.set_addresses(AddressSource::Recorded, vec![(SECOND.0, SECOND.1, deserted())]);
        let (body, reply) = echo.held.borrow_mut().pop().expect("held");
        reply.send(KIND_ECHO | 0x8000, |out| out.extend_from_slice(&body));
        waiting.await.expect("answered over the link that was open");
        assert_eq!(second.accepted_links(), 1);
    });
}
