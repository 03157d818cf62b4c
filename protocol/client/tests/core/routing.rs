//! Claim: requests go to the leader's shard when it is known, and to whoever is there when it is not.

use std::collections::BTreeSet;
use std::time::Duration;

use kahuna_client::protocol::frame::FLAG_FORWARDED;
use kahuna_client::protocol::handshake::ANY_SHARD;
use kahuna_client::protocol::meta::{MapGet, StatusGet};
use kahuna_client::protocol::{ClusterId, ErrorCode, ErrorReply, NodeId};
use kahuna_client::{CallOptions, ClientError, Options};

use crate::script::{Script, get, map, options, refusal, set, was_set};

const MS: Duration = Duration::from_millis(1);

#[test]
fn the_leaders_shard_is_connected_to_and_meanwhile_anyone_is_asked() {
    let mut script = Script::new(options());
    script.map = map(2);
    script.submit(&set("k"));
    assert_eq!(script.hellos.len(), 0);
    let first = script.welcome("n1:1", 1, 0);
    assert_eq!(script.hellos[0].1.shard, ANY_SHARD);
    assert_eq!(script.take_sent().connection, first, "the one that is there forwards");
    let shard = script.map.ranges.owner(b"k").expect("owned").shard(2);
    let leader = script.welcome("n2:1", 2, shard.0);
    assert_eq!(script.hellos[1].1.shard, shard);
    assert_eq!(script.hellos[1].1.cluster, crate::script::CLUSTER);
    script.submit(&set("k"));
    assert_eq!(script.take_sent().connection, leader);
}

#[test]
fn a_client_that_does_not_follow_stays_where_it_is() {
    let mut script = Script::new(Options { follow_leaders: false, ..options() });
    script.map = map(2);
    script.submit(&set("k"));
    let first = script.welcome("n1:1", 1, 0);
    assert_eq!(script.take_sent().connection, first);
    assert!(script.opens.is_empty());
}

#[test]
fn a_hint_is_followed_at_once_and_remembered() {
    let (mut script, _) = Script::connected(options());
    script.submit(&set("k"));
    let sent = script.take_sent();
    script.reply(&sent, ErrorReply { leader: NodeId(3), ..refusal(ErrorCode::NotLeader) });
    let leader = script.welcome("n3:1", 3, script.map.ranges.owner(b"k").map_or(0, |group| group.shard(2).0));
    let again = script.take_sent();
    assert_eq!(again.connection, leader);
    script.reply(&again, was_set(1));
    script.take_done().expect("set");
    script.submit(&set("k"));
    assert_eq!(script.sent.last().expect("sent").connection, leader);
}

#[test]
fn nodes_that_name_each_other_are_not_asked_in_a_tight_loop() {
    let mut script = Script::new(options());
    script.map = map(1);
    script.submit(&set("k"));
    let one = script.welcome("n1:1", 1, 0);
    let mut two = None;
    let mut asked = 0;
    for _ in 0..500 {
        for sent in std::mem::take(&mut script.sent) {
            asked += 1;
            let leader = if sent.connection == one { NodeId(2) } else { NodeId(1) };
            script.reply(&sent, ErrorReply { leader, ..refusal(ErrorCode::NotLeader) });
        }
        if two.is_none() && script.opens.iter().any(|(_, endpoint)| endpoint == "n2:1") {
            two = Some(script.welcome("n2:1", 2, 0));
        }
        script.advance(2 * MS);
    }
    assert!(two.is_some() && (5..40).contains(&asked), "{asked} attempts in a second");
}

#[test]
fn a_node_that_cannot_serve_is_left_for_another_one() {
    let (mut script, first) = Script::connected(options());
    script.submit(&set("k"));
    let sent = script.take_sent();
    script.reply(&sent, refusal(ErrorCode::Draining));
    script.advance(20 * MS);
    let second = script.welcome("n2:1", 2, 0);
    for _ in 0..10 {
        for sent in std::mem::take(&mut script.sent) {
            if sent.connection == second && sent.prelude.number == 1 {
                script.reply(&sent, was_set(1));
            } else if sent.connection == first {
                script.reply(&sent, refusal(ErrorCode::Draining));
            }
        }
        script.advance(20 * MS);
    }
    script.take_done().expect("set by the other node");
}

#[test]
fn a_forwarded_answer_of_the_believed_leader_makes_the_map_be_read_again_once() {
    let mut script = Script::new(options());
    script.map = map(1);
    for key in ["a", "b", "c"] {
        script.submit(&get(key));
    }
    script.welcome("n1:1", 1, 0);
    let asked: Vec<_> = std::mem::take(&mut script.sent);
    script.advance(250 * MS);
    for sent in &asked {
        script.reply_with(sent, FLAG_FORWARDED, script.hlc(), &refusal(ErrorCode::BadRequest).into());
    }
    assert_eq!(script.map_requests.len(), 1);
    let refresh = script.map_requests.remove(0);
    script.reply(&refresh, map(3));
    script.submit(&get("a"));
    assert!(script.opens.iter().any(|(_, endpoint)| endpoint == "n3:1"), "the new leader is connected to");
    assert_eq!(script.done.len(), 3, "the client's own request is nobody's answer");
}

#[test]
fn a_request_about_a_node_goes_to_that_node_alone() {
    let (mut script, _) = Script::connected(options());
    let pinned = |endpoint: &str| CallOptions { endpoint: Some(endpoint.into()), ..CallOptions::default() };
    script.submit_with(&StatusGet {}.into(), pinned("n3:1"));
    assert!(script.sent.is_empty());
    let third = script.welcome("n3:1", 3, 0);
    assert_eq!(script.take_sent().connection, third);
    script.disconnect(third);
    script.advance(6000 * MS);
    assert!(matches!(script.take_done(), Err(ClientError::Unavailable { .. })));
}

#[test]
fn an_endpoint_that_does_not_connect_delays_only_a_little() {
    let mut script = Script::new(options());
    script.submit(&set("k"));
    assert_eq!(script.opens.len(), 1);
    script.advance(149 * MS);
    assert_eq!(script.opens.len(), 1);
    script.advance(MS);
    assert_eq!(script.opens.len(), 2, "the next endpoint is tried beside the first");
    script.welcome("n2:1", 2, 0);
    script.take_sent();
    script.advance(850 * MS);
    assert_eq!(script.closed.len(), 1, "the first one is given up");
}

#[test]
fn a_node_of_another_cluster_is_left() {
    let (mut script, first) = Script::connected(Options { cluster: ClusterId([7; 16]), ..options() });
    script.disconnect(first);
    let mut other = Script::new(Options { cluster: ClusterId([8; 16]), ..options() });
    other.submit(&get("k"));
    let refused = other.welcome("n1:1", 1, 0);
    assert_eq!(other.closed, [refused]);
    assert!(other.sent.is_empty());
    assert_eq!(other.opens.len(), 1, "the next endpoint is tried");
}

/// Gives the client the map in which node 2 is at `address`.
fn tell_of_a_move(script: &mut Script, address: &str, epoch: u64) {
    let mut moved = map(0);
    moved.nodes[1].client_address = address.to_owned();
    moved.ranges.ranges.iter_mut().for_each(|range| range.epoch = epoch);
    script.submit(&MapGet {}.into());
    let asked = script.map_requests.remove(0);
    script.reply(&asked, moved);
    script.take_done().expect("a map");
}

/// Where the client looks for nodes while none answers.
fn looked_at(script: &mut Script) -> BTreeSet<String> {
    let mut looked_at = BTreeSet::new();
    script.submit(&get("k"));
    for _ in 0..200 {
        for (connection, endpoint) in std::mem::take(&mut script.opens) {
            looked_at.insert(endpoint);
            script.disconnect(connection);
        }
        script.advance(20 * MS);
    }
    looked_at
}

#[test]
fn places_that_nodes_left_are_forgotten() {
    let (mut script, connection) = Script::connected(options());
    for step in 0..50 {
        tell_of_a_move(&mut script, &format!("moved{step}:1"), 2);
    }
    tell_of_a_move(&mut script, "before:1", 1);
    script.disconnect(connection);
    let places = looked_at(&mut script);
    assert_eq!(places, ["before:1", "moved49:1", "n1:1", "n2:1", "n3:1"].map(str::to_owned).into());
}

#[test]
fn a_place_in_use_is_not_forgotten() {
    let (mut script, _) = Script::connected(options());
    tell_of_a_move(&mut script, "a:1", 2);
    tell_of_a_move(&mut script, "pinned:1", 2);
    script
        .submit_with(&StatusGet {}.into(), CallOptions { endpoint: Some("pinned:1".into()), ..CallOptions::default() });
    tell_of_a_move(&mut script, "b:1", 2);
    let pinned = script.welcome("pinned:1", 2, 0);
    tell_of_a_move(&mut script, "c:1", 2);
    let asked = script.take_sent();
    assert_eq!(asked.connection, pinned);
    script.reply(&asked, refusal(ErrorCode::BadRequest));
    script.done.clear();
    script.disconnect(pinned);
    tell_of_a_move(&mut script, "d:1", 2);
    assert!(!looked_at(&mut script).contains("pinned:1"));
}
