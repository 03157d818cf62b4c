//! What the meta group keeps, and what it refuses.

mod common;

use common::*;
use kahuna_machine::{Meta, Range};
use kahuna_protocol::meta::{
    Done, FinishReplacement, NodeInfo, PlaceGroups, Placement, ReplaceReplica, Replacement, Replica, SetLed, Settings,
    UpsertNode,
};
use kahuna_protocol::{ErrorCode, GroupId, Incarnation, NodeId, Outcome, Position, RangeMap, ReplicaId};

fn placement(group: u32, replicas: &[u64]) -> Placement {
    let replica = |(at, &id): (usize, &u64)| {
        let node = at as u32 + 1;
        Replica { replica: ReplicaId(id), node: NodeId(node), incarnation: Incarnation(u64::from(node) + 100) }
    };
    Placement { group: GroupId(group), replicas: replicas.iter().enumerate().map(replica).collect(), led: false }
}

fn two_groups() -> PlaceGroups {
    let placements = vec![placement(1, &[4, 5, 6]), placement(2, &[7, 8, 9])];
    PlaceGroups { settings: Settings { history_revisions: 5, ..settings() }, map: RangeMap::even(2), placements }
}

fn node(node: u32, client_address: &str) -> UpsertNode {
    let info = NodeInfo {
        node: NodeId(node),
        incarnation: Incarnation(u64::from(node) + 100),
        client_address: client_address.to_owned(),
        peer_address: "127.0.0.1:1".to_owned(),
        shards: 2,
    };
    UpsertNode { info }
}

fn bench() -> Bench {
    Bench::with(settings(), Range::none())
}

#[test]
fn groups_are_placed_once() {
    let mut bench = bench();
    assert_eq!(bench.machine.meta_version(), 0);
    assert_eq!(bench.run(two_groups()), Done {}.into());
    let meta = bench.machine.meta().clone();
    assert!(meta.is_placed());
    assert_eq!((meta.settings().history_revisions, meta.next_replica()), (5, ReplicaId(10)));
    assert_eq!((meta.map().ranges.len(), meta.placements().count()), (2, 2));
    assert_eq!(bench.machine.meta_version(), 1);
    let second = PlaceGroups { map: RangeMap::even(1), placements: vec![placement(1, &[20])], ..two_groups() };
    assert_eq!(bench.run(second), Done {}.into());
    assert_eq!((bench.machine.meta(), bench.machine.meta_version()), (&meta, 1), "a second placement changes nothing");
}

#[test]
fn a_placement_that_does_not_fit_is_refused_by_name() {
    let refused = |placements: Vec<Placement>, map: RangeMap, word: &str| {
        let mut bench = bench();
        match bench.run(PlaceGroups { placements, map, ..two_groups() }) {
            Outcome::Error(reply) => {
                assert_eq!(reply.code(), ErrorCode::BadRequest);
                assert!(reply.text.contains(word), "{:?} does not say {word}", reply.text);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((bench.machine.meta_version(), bench.machine.meta().is_placed()), (0, false));
    };
    let two = || RangeMap::even(2);
    refused(vec![], two(), "empty");
    refused(vec![placement(1, &[4]), placement(1, &[5])], two(), "twice");
    refused(vec![placement(1, &[4]), placement(2, &[4])], two(), "twice");
    refused(vec![placement(1, &[4]), placement(2, &[])], two(), "no replica");
    refused(vec![placement(1, &[0]), placement(2, &[5])], two(), "below");
    refused(vec![placement(1, &[u64::MAX]), placement(2, &[5])], two(), "free");
    refused(vec![placement(1, &[4])], two(), "no place");
    refused(vec![placement(1, &[4])], RangeMap::default(), "first");
    let mut crossed = two();
    crossed.ranges[1].start = Vec::new();
    refused(vec![placement(1, &[4]), placement(2, &[5])], crossed, "order");
    let mut within = two();
    within.ranges[1].start = Position::of_name(b"a/m").encoded().to_vec();
    refused(vec![placement(1, &[4]), placement(2, &[5])], within, "within a key space");
}

#[test]
fn the_version_rises_with_changes_only() {
    let mut bench = bench();
    bench.run(two_groups());
    assert_eq!(bench.run(SetLed { group: GroupId(2) }), Done {}.into());
    assert_eq!(bench.run(SetLed { group: GroupId(2) }), Done {}.into());
    assert_eq!(bench.machine.meta_version(), 2);
    let led: Vec<bool> = bench.machine.meta().placements().map(|placement| placement.led).collect();
    assert_eq!(led, [false, true]);
    assert_eq!(code(&bench.run(SetLed { group: GroupId(3) })), Some(ErrorCode::BadRequest));
    for upsert in [node(3, "c:1"), node(1, "a:1"), node(1, "a:1"), node(1, "a:2")] {
        assert_eq!(bench.run(upsert), Done {}.into());
    }
    assert_eq!(bench.machine.meta_version(), 5);
    let nodes: Vec<_> = bench.machine.meta().nodes().map(|node| (node.node, node.client_address.as_str())).collect();
    assert_eq!(nodes, [(NodeId(1), "a:2"), (NodeId(3), "c:1")]);
}

#[test]
fn only_nodes_that_have_replicas_are_written_down() {
    let mut bench = bench();
    bench.run(two_groups());
    let change = |change: fn(&mut NodeInfo)| {
        let mut upsert = node(2, "b:1");
        change(&mut upsert.info);
        upsert
    };
    let refused = [
        (change(|info| info.node = NodeId(9)), "no replica"),
        (change(|info| info.incarnation = Incarnation(101)), "no replica"),
        (change(|info| info.shards = 0), "no shard"),
        (change(|info| info.peer_address = "x".repeat(1_025)), "longer than 1024"),
        (change(|info| info.client_address = "x".repeat(1_025)), "longer than 1024"),
    ];
    for (request, word) in refused {
        let outcome = bench.run(request.clone());
        assert!(matches!(&outcome, Outcome::Error(reply) if reply.text.contains(word)), "{request:?}: {outcome:?}");
    }
    assert_eq!(bench.machine.meta().nodes().count(), 0);
    assert_eq!(bench.run(change(|_| {})), Done {}.into());
}

#[test]
fn a_data_partition_takes_nothing_of_the_meta_group() {
    let mut bench = Bench::new();
    let requests: [kahuna_protocol::Request; 5] = [
        two_groups().into(),
        node(1, "a:1").into(),
        SetLed { group: GroupId(1) }.into(),
        replace(1, 1).into(),
        FinishReplacement { group: GroupId(1), replica: ReplicaId(10) }.into(),
    ];
    for request in requests {
        assert_eq!(code(&bench.run(request)), Some(ErrorCode::BadRequest));
    }
    assert_eq!((bench.machine.meta(), bench.machine.meta_version()), (&Meta::default(), 0));
}

/// Node 2 asks for another replica of `group`.
fn replace(group: u32, loss: u32) -> ReplaceReplica {
    ReplaceReplica { group: GroupId(group), node: NodeId(2), incarnation: Incarnation(102), loss }
}

fn minted(loss: u32, replica: u64, lost: &[u64]) -> Replacement {
    Replacement {
        group: GroupId(1),
        node: NodeId(2),
        incarnation: Incarnation(102),
        loss,
        replica: ReplicaId(replica),
        finished: false,
        lost: lost.iter().copied().map(ReplicaId).collect(),
    }
}

fn replicas_of(bench: &Bench, group: u32) -> Vec<u64> {
    let placement = bench.machine.meta().placement(GroupId(group)).expect("it was placed");
    placement.replicas.iter().map(|replica| replica.replica.0).collect()
}

#[test]
fn a_lost_replica_gets_one_new_id_a_loss() {
    let mut bench = bench();
    bench.run(two_groups());
    let version = bench.machine.meta_version();
    for _ in 0..2 {
        assert_eq!(bench.run(replace(1, 1)), minted(1, 10, &[5]).into());
        assert_eq!(bench.machine.meta_version(), version + 1, "a repetition changes nothing");
        assert_eq!(bench.machine.meta().next_replica(), ReplicaId(11));
    }
    assert_eq!(replicas_of(&bench, 1), [4, 5, 6], "the place stays the old one's until the new one votes");
    // Lost again before it was there: the abandoned id is dead as well.
    assert_eq!(bench.run(replace(1, 3)), minted(3, 11, &[5, 10]).into());
    assert_eq!(bench.run(replace(1, 1)), minted(3, 11, &[5, 10]).into(), "a late request mints nothing");
    assert_eq!(bench.run(FinishReplacement { group: GroupId(1), replica: ReplicaId(10) }), Done {}.into());
    assert_eq!(replicas_of(&bench, 1), [4, 5, 6], "an abandoned id takes no place");
    for _ in 0..2 {
        assert_eq!(bench.run(FinishReplacement { group: GroupId(1), replica: ReplicaId(11) }), Done {}.into());
        assert_eq!(bench.machine.meta_version(), version + 3);
    }
    assert_eq!(replicas_of(&bench, 1), [4, 11, 6], "it takes over the old one's place in the list");
    assert!(bench.machine.meta().placement(GroupId(1)).is_some_and(|placement| placement.led));
    // Lost once more, after it had the place.
    assert_eq!(bench.run(replace(1, 4)), minted(4, 12, &[5, 10, 11]).into());
    assert_eq!(replicas_of(&bench, 2), [7, 8, 9]);
    assert_eq!(restored(&blocks(&bench.machine)).meta(), bench.machine.meta());
}

#[test]
fn a_replacement_that_does_not_fit_is_refused_by_name() {
    let mut bench = bench();
    let placements = vec![placement(1, &[4, 5, 6]), placement(2, &[7])];
    assert!(matches!(bench.run(replace(1, 1)), Outcome::Error(reply) if reply.text.contains("no place")));
    bench.run(PlaceGroups { placements, ..two_groups() });
    let alone = ReplaceReplica { group: GroupId(2), node: NodeId(1), incarnation: Incarnation(101), loss: 1 };
    let refused = [
        (replace(3, 1), "no place"),
        (replace(2, 1), "no replica on node 2"),
        (ReplaceReplica { incarnation: Incarnation(101), ..replace(1, 1) }, "no replica on node 2"),
        (replace(1, 0), "from 1"),
        (alone, "no other replica"),
    ];
    let before = bench.machine.meta().clone();
    for (request, word) in refused {
        let outcome = bench.run(request.clone());
        assert!(matches!(&outcome, Outcome::Error(reply) if reply.text.contains(word)), "{request:?}: {outcome:?}");
    }
    let unknown = bench.run(FinishReplacement { group: GroupId(1), replica: ReplicaId(5) });
    assert!(matches!(unknown, Outcome::Error(reply) if reply.text.contains("replaces none")));
    assert_eq!(bench.machine.meta(), &before);
}

#[test]
fn meta_is_in_the_snapshot() {
    let mut bench = bench();
    bench.run(node(1, "a:1"));
    bench.run(two_groups());
    let restored = restored(&blocks(&bench.machine));
    assert_eq!(restored.meta(), bench.machine.meta());
    assert_eq!(restored.meta_version(), 2);
    assert_eq!(restored.range(), bench.machine.range());
    assert_eq!(restored.settings(), bench.machine.settings());
}

#[test]
fn the_meta_group_owns_no_name() {
    let mut bench = bench();
    assert_eq!(code(&bench.run(set("k", "v"))), Some(ErrorCode::Moved));
    assert_eq!(code(&answer(bench.read(get("k")))), Some(ErrorCode::Moved));
}
