//! What other nodes say: whatever it is, a replica goes on, and its group keeps what was acknowledged.

mod raft_support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use kahuna_protocol::batch::Batch;
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{ErrorCode, ErrorReply, Header};
use kahuna_shards::env::Env;
use kahuna_shards::linux::Linux;
use kahuna_shards::peer::{PeerHandler, PeerIdentity, PeerReplier};
use kahuna_shards::raft::messages::{
    APPEND, REPLY, SNAPSHOT_BEGIN, SNAPSHOT_CHUNK, SNAPSHOT_END, SnapshotBegin, TRANSFER_LEADER, VOTE, put_append,
    put_transfer_leader_request, put_vote_request,
};
use kahuna_shards::raft::types::{Entry, LogId, Membership, Payload, Proposal, Types, Vote, log_id};
use kahuna_shards::raft::{Replica, Sender};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use raft_support::{GROUP, Node, Options, incarnation, leader_among, on_shard, replica_id, sender, three};

/// A bent frame that is answered later is not waited for.
const LIMIT: Duration = Duration::from_secs(2);

fn all(nodes: &[Node]) -> Vec<&Node> {
    nodes.iter().collect()
}

/// The three go on and are the same.
async fn go_on(nodes: &[Node]) {
    let leader = loop {
        let leader = &nodes[leader_among(&all(nodes)).await];
        // One that has not heard of a higher term yet leads no more a moment later.
        if leader.replica.propose(raft_support::set_batch(&leader.clock, "after", b"all")).await.is_ok() {
            break leader;
        }
    };
    for node in nodes {
        node.catch_up_with(leader).await;
        assert_eq!(node.get("after").as_deref(), Some(&b"all"[..]), "node {}", node.number);
        assert_eq!(node.get("before").as_deref(), Some(&b"all"[..]), "node {}", node.number);
        assert_eq!(node.hash(), leader.hash(), "node {}", node.number);
    }
}

fn append(vote: Vote, previous: Option<LogId>, entries: Vec<Entry>, commit: Option<LogId>) -> (u16, Bytes) {
    let request = AppendEntriesRequest::<Types<Linux>> { vote, prev_log_id: previous, entries, leader_commit: commit };
    let mut body = Vec::new();
    put_append(&mut body, &request);
    (APPEND, body.into())
}

fn vote(vote: Vote, last: Option<LogId>) -> (u16, Bytes) {
    let mut body = Vec::new();
    put_vote_request(&mut body, &VoteRequest::<Types<Linux>>::new(vote, last));
    (VOTE, body.into())
}

/// The leader and another one, which has all that the leader has.
async fn led(nodes: &[Node]) -> (&Node, &Node) {
    let at = leader_among(&all(nodes)).await;
    let (leader, victim) = (&nodes[at], &nodes[(at + 1) % 3]);
    leader.set("before", b"all").await;
    victim.catch_up_with(leader).await;
    (leader, victim)
}

/// Claim: of what others send only so much waits for an answer; the rest is refused, and the group goes on all the same.
#[test]
fn what_waits_for_an_answer_is_bounded() {
    on_shard(async |dir| {
        let nodes = three(dir, Options { unanswered_bytes: 256, ..Options::default() }).await;
        let (leader, victim) = led(&nodes).await;
        let last = victim.replica.log_from(0).last().expect("some").log_id;
        let leads = Vote::new_committed(victim.replica.leader().term, u64::from(leader.number));
        let (kind, heartbeat) = append(leads, Some(last), Vec::new(), None);
        let ask = |_| victim.replica.on_message(sender(leader.number), kind, heartbeat.clone());
        let answers = join_all((0..1000).map(ask).collect::<Vec<_>>()).await;
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err()).map(ErrorReply::code);
        let busy = refused.filter(|code| *code == ErrorCode::Busy).count();
        assert!((900..=1000).contains(&busy), "{busy} were refused");
        go_on(&nodes).await;
    });
}

/// Claim: each kind of nonsense is refused and counted, and changes nothing.
#[test]
fn what_no_honest_replica_says_is_refused() {
    on_shard(async |dir| {
        let nodes = three(dir, Options::default()).await;
        let (leader, victim) = led(&nodes).await;
        let (from, own) = (sender(leader.number), u64::from(victim.number));
        let term = victim.replica.leader().term;
        let last = victim.replica.log_from(0).last().expect("some").log_id;
        let (leads, next) = (Vote::new_committed(term, u64::from(leader.number)), last.index + 1);
        let entry = |term, index, payload| Entry { log_id: log_id(term, index), payload };
        let blank = |term| vec![entry(term, next, Payload::Blank)];
        let with = |payload| append(leads, Some(last), vec![entry(term, next, payload)], None);
        let mut take_over = Vec::new();
        let to_take = TransferLeaderRequest::<Types<Linux>>::new(Vote::new(term, leads.leader_id.voted_for), own, None);
        put_transfer_leader_request(&mut take_over, &to_take);
        let mut begin = Vec::new();
        let uncommitted = Vote::new(term, leads.leader_id.voted_for);
        SnapshotBegin { vote: uncommitted, transfer: 1, file_bytes: 1, header: Bytes::new() }.put(&mut begin);
        let cases = [
            ("it leads itself", append(Vote::new_committed(term + 1, own), None, Vec::new(), None)),
            ("nobody is elected", append(uncommitted, None, Vec::new(), None)),
            (
                "a commit behind the log, of an earlier term",
                append(leads, Some(last), blank(term), Some(log_id(0, 900))),
            ),
            ("a commit of a later term", append(leads, Some(last), Vec::new(), Some(log_id(term + 9, next)))),
            ("terms go back", append(leads, Some(last), blank(0), None)),
            ("an entry of a later term", append(leads, Some(last), blank(term + 1), None)),
            ("it continues what is not committed", append(leads, Some(log_id(term + 7, 1)), Vec::new(), None)),
            ("the first entry is another one", append(leads, Some(log_id(term, 0)), Vec::new(), None)),
            ("a term too far", append(Vote::new_committed(term + (1 << 50), from.replica.0), None, Vec::new(), None)),
            ("an index too far", append(leads, Some(log_id(term, (1 << 62) + 1)), Vec::new(), None)),
            ("nobody votes", with(Payload::Membership(Membership::default()))),
            ("no commands", with(Payload::Normal(Proposal(Batch::from_bytes(Bytes::from_static(b"noise")))))),
            ("it is elected already", vote(Vote::new_committed(term + 1, from.replica.0), Some(last))),
            ("a log ahead of its vote", vote(Vote::new(term + 1, from.replica.0), Some(log_id(term + 2, next)))),
            ("it asks for another one", vote(Vote::new(term + 1, own), Some(last))),
            ("nobody hands over", (TRANSFER_LEADER, take_over.into())),
            ("nobody sends a snapshot", (SNAPSHOT_BEGIN, begin.into())),
        ];
        let count = cases.len() as u64;
        for (what, (kind, body)) in cases {
            let refused = victim.replica.on_message(from, kind, body).await.expect_err(what);
            assert_eq!(refused.code(), ErrorCode::BadRequest, "{what}: {}", refused.text);
        }
        let honest = append(leads, Some(last), Vec::new(), None);
        let elsewhere = Sender { incarnation: incarnation(9), ..from };
        for liar in [sender(victim.number), elsewhere] {
            let refused = victim.replica.on_message(liar, APPEND, honest.1.clone()).await.expect_err("a liar");
            assert_eq!(refused.code(), ErrorCode::BadRequest, "{}", refused.text);
        }
        assert_eq!(victim.peers.refused_messages(), count + 2);
        assert_eq!((victim.replica.leader().term, leader.peers.refused_messages()), (term, 0));
        go_on(&nodes).await;
    });
}

/// Claim: a term that a liar raises step by step leaves nobody behind that missed a step: the group goes on, all three.
#[test]
fn a_term_that_a_liar_raises_leaves_nobody_behind() {
    on_shard(async |dir| {
        let nodes = three(dir, Options::default()).await;
        let (leader, victim) = led(&nodes).await;
        let term = victim.replica.leader().term;
        let raise =
            |by: u64| append(Vote::new_committed(term + by, u64::from(leader.number)), None, Vec::new(), None).1;
        // The second one comes before anybody else can have heard of the first.
        let steps = [1 << 32, 1 << 33].map(|by| victim.replica.on_message(sender(leader.number), APPEND, raise(by)));
        for step in join_all(steps).await {
            assert_eq!(step.expect("an honest leader may say it").0, APPEND | REPLY);
        }
        go_on(&nodes).await;
        assert!(victim.replica.leader().term > term + (1 << 33), "{}", victim.replica.leader().term);
    });
}

/// Writes down what comes.
struct Recorder {
    replica: Rc<Replica<Linux>>,
    frames: RefCell<Vec<(u16, Bytes)>>,
}

impl PeerHandler for Recorder {
    fn on_frame(
        self: Rc<Self>,
        from: PeerIdentity,
        prelude: PeerPrelude,
        header: Header,
        body: Bytes,
        reply: PeerReplier,
    ) {
        self.frames.borrow_mut().push((header.kind, body.clone()));
        let sender = Sender { replica: prelude.from, incarnation: from.incarnation, boot: from.boot_id };
        let answer = self.replica.on_message(sender, header.kind, body);
        Linux::spawn(async move {
            match answer.await {
                Ok((kind, payload)) => reply.send(kind, |out| out.extend_from_slice(&payload)),
                Err(error) => reply.refuse(&error),
            }
        });
    }
}

/// Claim: frames of the leader's link, bent and sent again over it under right checksums, end nobody and change nothing
/// that was acknowledged.
#[test]
fn a_bent_replay_on_a_peer_link_harms_nobody() {
    on_shard(async |dir| {
        let nodes = three(dir, Options::default()).await;
        let at = leader_among(&all(&nodes)).await;
        let (leader, victim) = (&nodes[at], &nodes[(at + 1) % 3]);
        let frames = RefCell::default();
        let recorder = Rc::new(Recorder { replica: victim.replica.clone(), frames });
        victim.peers.set_handler(recorder.clone());
        for round in 0..40u8 {
            leader.set("before", &[round; 40]).await;
        }
        leader.set("before", b"all").await;
        victim.catch_up_with(leader).await;
        let (term, last) = (victim.replica.leader().term, victim.replica.log_from(0).last().expect("some").log_id);
        let mut frames = recorder.frames.take();
        frames.push(vote(Vote::new(term + 1, u64::from(leader.number)), Some(last)));
        frames.extend([SNAPSHOT_BEGIN, SNAPSHOT_CHUNK, SNAPSHOT_END].map(|kind| (kind, Bytes::from(vec![1; 80]))));

        let mut state = 0x5eed_u64;
        let mut draw = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below.max(1) as u64) as usize
        };
        let prelude = PeerPrelude { group: GROUP, from: replica_id(leader.number), to: victim.replica.id() };
        for _ in 0..100 {
            let bent = (0..32).map(|_| {
                let (kind, body) = &frames[draw(frames.len())];
                let mut body = body.to_vec();
                for _ in 0..=draw(3) {
                    // Votes and ids stand first.
                    let most = if draw(2) == 0 { 64 } else { usize::MAX };
                    let at = draw(body.len().min(most));
                    body[at] = [0, 1, 255, draw(256) as u8][draw(4)];
                }
                leader
                    .peers
                    .call(incarnation(victim.number), prelude, *kind, 0, LIMIT, |out| out.extend_from_slice(&body))
            });
            join_all(bent.collect::<Vec<_>>()).await;
        }
        assert!(victim.peers.refused_messages() > 100, "some made no sense: {}", victim.peers.refused_messages());
        go_on(&nodes).await;
    });
}
