//! What a replica that forgot, was cut off or came back must never do.

mod raft_support;

use std::time::Duration;

use kahuna_protocol::Hlc;
use kahuna_protocol::batch::BatchBuilder;
use kahuna_protocol::key::{Condition, KeySet};
use kahuna_protocol::{Request, RequestPrelude};
use kahuna_shards::env::Env;
use kahuna_shards::linux::Linux;
use kahuna_shards::raft::ProposeError;
use raft_support::{Node, Options, introduce, leader_among, on_shard, revision, set_batch, start, three, timing};

/// A stamp is milliseconds above these bits.
const HOUR: u64 = 3_600_000 << 16;

/// A candidate that hears nothing of the leader any more, and a restart of the voter whose acknowledgements the leader's
/// lease rests on. Whether the lease was still seen to run behind that restart.
async fn a_voter_forgets_its_lease(dir: &std::path::Path) -> bool {
    let nodes = three(dir, Options::default()).await;
    let at = leader_among(&[&nodes[0], &nodes[1], &nodes[2]]).await;
    let (leader, voter, candidate) = (&nodes[at], &nodes[(at + 1) % 3], &nodes[(at + 2) % 3]);
    assert_eq!(leader.set("k", b"v").await, 1);
    voter.catch_up_with(leader).await;
    candidate.catch_up_with(leader).await;

    // The candidate comes back where the leader does not look for it. It has waited its time, and knows of no lease.
    candidate.stop().await;
    let candidate = start(dir, candidate.number, Options::default()).await;
    assert_eq!(leader.replica.read_index().await, Ok(()), "the voter alone confirms the leader");
    voter.stop().await;
    let gate = timing().election_max + Duration::from_millis(50);
    let voter = start(dir, voter.number, Options { gate, ..Options::default() }).await;
    introduce(&[&voter, &candidate]);

    let mut lease_ran = false;
    loop {
        candidate.replica.timer().elect().await;
        voter.replica.timer().elect().await;
        Linux::sleep(Duration::from_millis(2)).await;
        let another = candidate.replica.leader().leading || voter.replica.leader().leading;
        if leader.replica.lease_read().await.is_err() {
            break;
        }
        assert!(!another, "a second leader was elected while the first one's lease ran");
        lease_ran = true;
    }
    // It was the gate that kept them from it, and the gate ends.
    leader_among(&[&voter, &candidate]).await;
    for node in [leader, &voter, &candidate] {
        node.stop().await;
    }
    lease_ran
}

#[test]
fn a_voter_that_restarts_at_once_elects_nobody_while_the_lease_it_granted_runs() {
    on_shard(async |dir| {
        // On a slow host the restart may outlast the lease: then nothing was shown.
        for attempt in 0..20 {
            if a_voter_forgets_its_lease(&dir.join(attempt.to_string())).await {
                return;
            }
        }
        panic!("the lease was over before the voter was back, every time");
    });
}

/// Nothing that `node` answers now comes from its memory.
async fn answers_nothing(node: &Node) {
    assert!(!node.replica.leader().leading);
    assert!(node.replica.lease_read().await.is_err());
    assert!(node.replica.read_index().await.is_err());
    let refused = node.replica.propose(set_batch(&node.clock, "k", b"refused")).await;
    assert!(matches!(refused, Err(ProposeError::NotLeader(_))), "{refused:?}");
}

#[test]
fn a_leader_restarted_in_its_own_term_answers_nothing_until_it_leads_a_new_one() {
    on_shard(async |dir| {
        let nodes = three(dir, Options::default()).await;
        let at = leader_among(&[&nodes[0], &nodes[1], &nodes[2]]).await;
        let (old, others) = (&nodes[at], [&nodes[(at + 1) % 3], &nodes[(at + 2) % 3]]);
        assert_eq!(old.set("k", b"old").await, 1);
        let term = old.replica.leader().term;
        old.stop().await;

        // It reaches nobody, so no message can tell it better.
        let back = start(dir, old.number, Options::default()).await;
        assert_eq!(back.replica.leader().term, term, "its own term");
        answers_nothing(&back).await;
        let heir = others[leader_among(&others).await];
        assert_eq!(heir.set("k", b"new").await, 2);
        answers_nothing(&back).await;
        assert_ne!(back.get("k").as_deref(), Some(&b"new"[..]), "its state is old");

        introduce(&[&back, others[0], others[1]]);
        others.iter().for_each(|node| node.replica.peer_up(raft_support::incarnation(back.number)));
        back.catch_up_with(heir).await;
        let seen = back.replica.leader();
        heir.replica.transfer_to(back.replica.id()).await.expect("it has caught up");
        back.replica.leader_changed(&seen).await;
        assert_eq!(leader_among(&[&back, others[0], others[1]]).await, 0, "it was appointed");
        assert!(back.replica.leader().term > term);
        assert_eq!(back.get("k").as_deref(), Some(&b"new"[..]));
        assert_eq!(back.set("k", b"newer").await, 3);
    });
}

/// A set with a stamp of the test's own.
async fn set_at(node: &Node, stamp: Hlc) -> u64 {
    let (key, value) = (b"k".to_vec(), b"v".to_vec());
    let request = Request::from(KeySet { key, value, ttl_ms: None, condition: Condition::default(), no_history: true });
    let mut body = Vec::new();
    request.encode_body(&mut body);
    let mut builder = BatchBuilder::new();
    builder.push(request.kind(), 0, &RequestPrelude::default(), &body);
    revision(&node.replica.propose(builder.finish(stamp)).await.expect("this node leads"))
}

fn machine_time(node: &Node) -> Hlc {
    node.replica.machine().borrow().time()
}

#[test]
fn stamps_exceed_every_applied_stamp_after_a_restart_and_under_another_leader() {
    on_shard(async |dir| {
        let mut nodes = three(dir, Options { snapshot_log_bytes: 2 << 10, ..Options::default() }).await;
        let at = leader_among(&[&nodes[0], &nodes[1], &nodes[2]]).await;
        let ahead = Hlc(nodes[at].clock.stamp().0 + HOUR);
        // A leader whose clock was an hour ahead, and enough behind it that the entry itself is only in a snapshot.
        set_at(&nodes[at], ahead).await;
        let mut last = machine_time(&nodes[at]);
        assert_eq!(last, ahead);
        for _ in 0..100 {
            let now = nodes[at].clock.stamp();
            set_at(&nodes[at], now).await;
            assert!(now < last && machine_time(&nodes[at]) > last, "no stamp is given twice");
            last = machine_time(&nodes[at]);
        }
        for round in 0..3 {
            let at = leader_among(&[&nodes[0], &nodes[1], &nodes[2]]).await;
            for node in &nodes {
                node.catch_up_with(&nodes[at]).await;
                assert_eq!(machine_time(node), last, "round {round}");
            }
            let heir = (at + 1) % 3;
            let seen = nodes[heir].replica.leader();
            nodes[at].replica.transfer_to(nodes[heir].replica.id()).await.expect("it has caught up");
            nodes[heir].replica.leader_changed(&seen).await;
            let at = leader_among(&[&nodes[0], &nodes[1], &nodes[2]]).await;
            set_at(&nodes[at], nodes[at].clock.stamp()).await;
            assert!(machine_time(&nodes[at]) > last, "round {round}: a new leader's clock is behind");
            last = machine_time(&nodes[at]);

            for node in &nodes {
                node.stop().await;
            }
            for node in &mut nodes {
                *node = start(dir, node.number, Options { snapshot_log_bytes: 2 << 10, ..Options::default() }).await;
            }
            introduce(&[&nodes[0], &nodes[1], &nodes[2]]);
            let at = leader_among(&[&nodes[0], &nodes[1], &nodes[2]]).await;
            assert!(machine_time(&nodes[at]) >= last, "round {round}: an applied stamp was forgotten");
            set_at(&nodes[at], nodes[at].clock.stamp()).await;
            assert!(machine_time(&nodes[at]) > last, "round {round}: a restarted leader's clock is behind");
            last = machine_time(&nodes[at]);
        }
    });
}
