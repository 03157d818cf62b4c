//! Groups of real replicas: replication, catching up, restarts, hand-over, the boot gate.

mod raft_support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kahuna_machine::{Effects, Interest};
use kahuna_protocol::{ErrorCode, ReplicaId};
use kahuna_shards::env::Env;
use kahuna_shards::linux::Linux;
use kahuna_shards::raft::messages::{
    APPEND, PRE_VOTE, READY, TRANSFER_LEADER, VOTE, put_append, put_vote_request, readiness,
};
use kahuna_shards::raft::types::{Types, Vote};
use kahuna_shards::raft::{ProposeError, TransferError};
use openraft::raft::{AppendEntriesRequest, VoteRequest};
use raft_support::{
    Node, Options, flip, incarnation, introduce, leader_among, members, newest_snapshot, noise, on_shard, replica_id,
    revision, sender, set_batch, start, three,
};

/// Longer than any boot gate should matter in a test that does not look at it.
const GATED: Options = Options { gate: Duration::from_secs(3600), ..Options::USUAL };
/// Snapshots early.
const SHORT_LOG: Options = Options { snapshot_log_bytes: 64 << 10, ..Options::USUAL };

fn all(nodes: &[Node]) -> Vec<&Node> {
    nodes.iter().collect()
}

#[test]
fn every_replica_applies_the_same() {
    on_shard(async |dir| {
        let nodes = three(dir, Options::default()).await;
        let leader = &nodes[leader_among(&all(&nodes)).await];
        for round in 0..100 {
            assert_eq!(leader.set("a", format!("value {round}").as_bytes()).await, round + 1);
        }
        for node in &nodes {
            node.catch_up_with(leader).await;
            assert_eq!(node.get("a").as_deref(), Some(&b"value 99"[..]));
            assert_eq!(node.hash(), leader.hash());
            let seen = node.replica.leader();
            assert_eq!(seen.replica, Some(replica_id(leader.number)));
            assert_eq!(seen.incarnation, Some(incarnation(leader.number)));
            assert_eq!(node.replica.members(), members(&[1, 2, 3]));
        }
    });
}

#[test]
fn whoever_listens_learns_what_each_entry_brought_about_on_every_replica() {
    on_shard(async |dir| {
        let nodes = three(dir, Options::default()).await;
        let leader = &nodes[leader_among(&all(&nodes)).await];
        let heard: Vec<Rc<RefCell<Vec<u64>>>> = nodes.iter().map(|_| Rc::default()).collect();
        leader.set("before anybody listens", b"0").await;
        for node in &nodes {
            node.catch_up_with(leader).await;
        }
        for (node, heard) in nodes.iter().zip(&heard) {
            let heard = heard.clone();
            let note = move |effects: Effects| {
                heard.borrow_mut().extend(effects.changed.iter().map(|changed| changed.revision));
            };
            node.replica.listen(Interest { keys: true, locks: false }, Rc::new(note));
        }
        for value in [b"1", b"2", b"3"] {
            leader.set("k", value).await;
        }
        for (node, heard) in nodes.iter().zip(&heard) {
            node.catch_up_with(leader).await;
            assert_eq!(*heard.borrow(), [1, 2, 3], "node {}", node.number);
        }
    });
}

#[test]
fn proposals_keep_the_order_of_the_calls() {
    on_shard(async |dir| {
        let nodes = three(dir, Options::default()).await;
        let leader = &nodes[leader_among(&all(&nodes)).await];
        let proposals: Vec<_> = (0..50).map(|_| leader.replica.propose(set_batch(&leader.clock, "k", b"v"))).collect();
        // Polled in the reverse order: what counts is when they were made.
        let mut revisions = Vec::new();
        for proposal in proposals.into_iter().rev() {
            revisions.push(revision(&proposal.await.expect("this node leads")));
        }
        revisions.reverse();
        assert_eq!(revisions, (1..=50).collect::<Vec<_>>());
    });
}

#[test]
fn a_follower_names_the_leader_and_appends_nothing() {
    on_shard(async |dir| {
        let nodes = three(dir, Options::default()).await;
        let at = leader_among(&all(&nodes)).await;
        let follower = &nodes[(at + 1) % 3];
        follower.catch_up_with(&nodes[at]).await;
        let refused = follower.replica.propose(set_batch(&follower.clock, "k", b"v")).await;
        assert_eq!(refused, Err(ProposeError::NotLeader(Some(incarnation(nodes[at].number)))));
        assert!(follower.replica.read_index().await.is_err());
        assert_eq!(nodes[at].set("k", b"v").await, 1);
    });
}

#[test]
fn a_node_that_was_away_while_the_others_purged_gets_the_snapshot() {
    on_shard(async |dir| {
        let nodes = three(dir, SHORT_LOG).await;
        let at = leader_among(&all(&nodes)).await;
        let (leader, away) = (&nodes[at], &nodes[(at + 1) % 3]);
        away.stop().await;
        let before = away.replica.applied_index();
        for round in 0..300 {
            leader.set(&format!("key {round}"), &[round as u8; 1000]).await;
        }
        // The log is short once a snapshot is durable and what it holds is purged.
        while leader.replica.status().first_index <= before + 1 {
            Linux::sleep(Duration::from_millis(5)).await;
        }
        let back = start(dir, away.number, SHORT_LOG).await;
        let others: Vec<&Node> = nodes.iter().filter(|node| node.number != back.number).chain([&back]).collect();
        introduce(&others);
        others.iter().for_each(|node| node.replica.peer_up(incarnation(back.number)));
        back.catch_up_with(leader).await;
        assert_eq!(back.hash(), leader.hash());
        assert!(back.replica.status().snapshot_index > before, "it came as a snapshot");
        // And goes on from there.
        leader.set("afterwards", b"yes").await;
        back.catch_up_with(leader).await;
        assert_eq!(back.get("afterwards").as_deref(), Some(&b"yes"[..]));
        assert_eq!(back.hash(), leader.hash());
    });
}

#[test]
fn a_leader_whose_snapshot_is_damaged_takes_a_fresh_one_and_sends_that() {
    on_shard(async |dir| {
        let nodes = three(dir, Options::default()).await;
        let at = leader_among(&all(&nodes)).await;
        let (leader, away) = (&nodes[at], &nodes[(at + 1) % 3]);
        away.stop().await;
        let before = away.replica.applied_index();
        for round in 0..100 {
            leader.set(&format!("key {round}"), &noise(round, 1000)).await;
        }
        // The only snapshot there is, and nothing asks for another one.
        leader.replica.request_snapshot();
        while leader.replica.status().first_index <= before + 1 {
            Linux::sleep(Duration::from_millis(5)).await;
        }
        let path = newest_snapshot(dir, leader.number);
        flip(&path, 50_000);
        let back = start(dir, away.number, Options::default()).await;
        let others: Vec<&Node> = nodes.iter().filter(|node| node.number != back.number).chain([&back]).collect();
        introduce(&others);
        others.iter().for_each(|node| node.replica.peer_up(incarnation(back.number)));
        back.catch_up_with(leader).await;
        assert_eq!(back.hash(), leader.hash());
        assert!(back.replica.status().snapshot_index > before, "it came as a snapshot");
        assert!(path.with_extension("snap.damaged").exists(), "the damaged file is kept");
        let hash = leader.hash();
        let number = leader.number;
        leader.stop().await;
        assert_eq!(start(dir, number, Options::default()).await.hash(), hash, "the fresh one is whole");
    });
}

#[test]
fn a_restart_has_what_was_acknowledged_and_leads_in_a_new_term() {
    on_shard(async |dir| {
        let nodes = three(dir, SHORT_LOG).await;
        let leader = &nodes[leader_among(&all(&nodes)).await];
        for round in 0..200 {
            leader.set(&format!("key {round}"), &[round as u8; 1000]).await;
        }
        let (term, time) = (leader.replica.leader().term, leader.replica.machine().borrow().time());
        for node in &nodes {
            node.stop().await;
        }
        let nodes = [1, 2, 3].map(|number| start(dir, number, SHORT_LOG));
        let [one, two, three] = nodes;
        let nodes = [one.await, two.await, three.await];
        assert!(nodes.iter().all(|node| node.replica.is_initialized()));
        introduce(&all(&nodes));
        let leader = &nodes[leader_among(&all(&nodes)).await];
        assert!(leader.replica.leader().term > term, "a restored leader would serve what it has not applied");
        for round in 0..200 {
            assert_eq!(leader.get(&format!("key {round}")), Some(vec![round as u8; 1000]), "key {round}");
        }
        leader.set("key 0", b"later").await;
        assert!(leader.replica.machine().borrow().time() > time, "stamps exceed every applied stamp");
        assert!(leader.replica.status().snapshot_index > 0);
    });
}

#[test]
fn a_single_voter_restarts_without_waiting() {
    on_shard(async |dir| {
        let node = start(dir, 1, GATED).await;
        assert!(!node.replica.is_initialized());
        node.replica.initialize(&members(&[1])).await.expect("a fresh group");
        node.replica.initialize(&members(&[1])).await.expect("repeating is safe");
        leader_among(&[&node]).await;
        assert_eq!(node.set("k", b"v").await, 1);
        node.stop().await;
        let node = start(dir, 1, GATED).await;
        leader_among(&[&node]).await;
        assert_eq!(node.set("k", b"w").await, 2);
    });
}

fn vote_request(term: u64, transfer: bool) -> Bytes {
    let mut request = VoteRequest::<Types<Linux>>::new(Vote::new(term, 2), None);
    request.leadership_transfer = transfer;
    let mut body = Vec::new();
    put_vote_request(&mut body, &request);
    body.into()
}

#[test]
fn a_restarted_voter_is_mute_until_the_lease_it_may_have_granted_is_over() {
    on_shard(async |dir| {
        let nodes = three(dir, Options::default()).await;
        leader_among(&all(&nodes)).await;
        for node in &nodes {
            node.stop().await;
        }
        let voter = start(dir, 1, Options { gate: Duration::from_millis(300), ..Options::default() }).await;
        let term = voter.replica.leader().term;
        let from = sender(2);
        for kind in [VOTE, PRE_VOTE] {
            let answer = voter.replica.on_message(from, kind, vote_request(term + 5, false)).await;
            assert_eq!(answer.expect_err("the gate holds").code(), ErrorCode::NotReady);
        }
        let ready = voter.replica.on_message(from, READY, Bytes::new()).await.expect("always answered");
        assert!(!readiness(&ready.1).expect("well formed").0);
        let take_over = voter.replica.on_message(from, TRANSFER_LEADER, Bytes::from_static(&[0; 42])).await;
        assert_eq!(take_over.expect_err("the gate holds").code(), ErrorCode::NotReady);
        assert_eq!(voter.replica.leader().term, term, "nothing was stored");
        // What a leader says is heard; so is a candidate that the leader appointed.
        let mut append = Vec::new();
        let request = AppendEntriesRequest::<Types<Linux>> {
            vote: Vote::new_committed(term + 1, 2),
            prev_log_id: None,
            entries: Vec::new(),
            leader_commit: None,
        };
        put_append(&mut append, &request);
        voter.replica.on_message(from, APPEND, append.into()).await.expect("no gate for appends");
        voter.replica.on_message(from, VOTE, vote_request(term + 2, true)).await.expect("no gate for hand-overs");
        while voter.replica.on_message(from, PRE_VOTE, vote_request(term + 9, false)).await.is_err() {
            Linux::sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn leadership_goes_to_a_replica_that_is_there_and_to_no_other() {
    on_shard(async |dir| {
        let nodes = three(dir, Options::default()).await;
        let at = leader_among(&all(&nodes)).await;
        let (leader, heir, away) = (&nodes[at], &nodes[(at + 1) % 3], &nodes[(at + 2) % 3]);
        away.stop().await;
        let refused = leader.replica.transfer_to(away.replica.id()).await;
        assert!(matches!(refused, Err(TransferError::NotReady(_))), "{refused:?}");
        assert_eq!(leader.replica.transfer_to(ReplicaId(99)).await, Err(TransferError::NotVoter));
        assert_eq!(heir.replica.transfer_to(leader.replica.id()).await, Err(TransferError::NotLeader));
        leader.set("k", b"v").await;
        heir.catch_up_with(leader).await;
        let before = heir.replica.leader();
        leader.replica.transfer_to(heir.replica.id()).await.expect("it is there");
        heir.replica.leader_changed(&before).await;
        assert_eq!(leader_among(&[leader, heir]).await, 1);
        assert_eq!(heir.set("k", b"w").await, 2);
    });
}

#[test]
fn large_entries_replicate_many_at_once() {
    on_shard(async |dir| {
        let nodes = three(dir, Options::default()).await;
        let leader = &nodes[leader_among(&all(&nodes)).await];
        let proposals: Vec<_> = (0..20u8)
            .map(|n| leader.replica.propose(set_batch(&leader.clock, &format!("key {n}"), &vec![n; 1 << 20])))
            .collect();
        for proposal in proposals {
            proposal.await.expect("this node leads");
        }
        for node in &nodes {
            node.catch_up_with(leader).await;
            assert!((0..20u8).all(|n| node.get(&format!("key {n}")) == Some(vec![n; 1 << 20])));
        }
    });
}
