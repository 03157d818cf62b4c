//! The other two replicas of the group: they answer what the replica asks, honestly or not.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{ClusterId, ErrorCode, ErrorReply, Header, Incarnation, Limits, NodeId, ShardId};
use kahuna_shards::clock::Clock;
use kahuna_shards::config::Timing;
use kahuna_shards::env::{Env, Net};
use kahuna_shards::peer::{
    AddressSource, LocalNode, PeerHandler, PeerIdentity, PeerLimits, PeerReplier, Peers, listen_to_peers, watch_nodes,
};
use kahuna_shards::raft::messages::{
    APPEND, PRE_VOTE, REPLY, SNAPSHOT_BEGIN, SNAPSHOT_CHUNK, SNAPSHOT_END, VOTE, append, appended_bytes,
    snapshot_reply_bytes, vote_request, vote_response_bytes,
};
use kahuna_shards::raft::types::{Types, Vote, log_id};
use kahuna_sim::{Sim, SimNet};
use openraft::raft::{AppendEntriesResponse, VoteResponse};

use crate::script::{Answer, AnswerVote};
use crate::stage::{FAR, OWN};

/// The data directory of a node.
pub fn incarnation(node: u64) -> Incarnation {
    Incarnation(1000 + node)
}

/// Where a node listens.
fn address(node: u32) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8], 1))
}

/// The links of a node, listening.
pub fn links(node: u32) -> (Rc<Peers<Sim>>, Rc<Clock<Sim>>) {
    let local = LocalNode {
        node: NodeId(node),
        incarnation: incarnation(u64::from(node)),
        boot_id: u64::from(node),
        shard: ShardId(0),
        shards: 1,
        client_address: String::new(),
        peer_address: address(node).to_string(),
        cluster: ClusterId([7; 16]),
        peer_set: Vec::new(),
    };
    let clock = Rc::new(Clock::new(250));
    let peers = Peers::<Sim>::new(local, clock.clone(), Timing::default(), PeerLimits::for_clients(&Limits::default()));
    let others = (1..=3).filter(|other| *other != node);
    let known = others.map(|other| (NodeId(other), Some(incarnation(u64::from(other))), address(other).to_string()));
    peers.set_addresses(AddressSource::Recorded, known.collect());
    let listener = SimNet::listen(address(node), false).expect("the address is the node's own");
    Sim::spawn(listen_to_peers(peers.clone(), listener, |_, _, _| {}));
    Sim::spawn(watch_nodes(peers.clone(), false, |_| {}, |_| {}));
    (peers, clock)
}

/// Answers what the replica asks.
pub struct Puppet(pub Rc<RefCell<VecDeque<Answer>>>);

impl PeerHandler for Puppet {
    fn on_frame(self: Rc<Self>, _: PeerIdentity, _: PeerPrelude, header: Header, body: Bytes, reply: PeerReplier) {
        let answer = self.0.borrow_mut().pop_front().unwrap_or(Answer::Honest);
        let payload = match (header.kind, answer) {
            (_, Answer::Refused) => return reply.refuse(&ErrorReply::new(ErrorCode::NotReady, "not now")),
            (_, Answer::Noise(length)) => (0..length).collect(),
            (APPEND, answer) => {
                let asked = append::<Sim>(&body).expect("the replica is honest");
                let last = asked.entries.last().map(|entry| entry.log_id).or(asked.prev_log_id);
                let (response, full) = match answer {
                    Answer::Appended { status, index, term, vote, full } => {
                        let base = last.unwrap_or(log_id(0, 0));
                        let bent = log_id(
                            base.leader_id.term.wrapping_add_signed(term.into()) & (u64::MAX >> 1),
                            base.index.wrapping_add_signed(index.into()) & (u64::MAX >> 1),
                        );
                        let response = match status % 4 {
                            0 => AppendEntriesResponse::Success,
                            1 => AppendEntriesResponse::PartialSuccess((status < 128).then_some(bent)),
                            2 => AppendEntriesResponse::Conflict,
                            _ => AppendEntriesResponse::HigherVote(vote.bend(asked.vote)),
                        };
                        (response, full)
                    }
                    _ => (AppendEntriesResponse::Success, false),
                };
                appended_bytes::<Sim>(&response, full)
            }
            (VOTE | PRE_VOTE, answer) => {
                let asked = vote_request::<Sim>(&body).expect("the replica is honest");
                let response = match answer {
                    Answer::Voted { vote, last, granted } => {
                        let last = log_id(last.0.unsigned_abs().into(), last.1.unsigned_abs().into());
                        VoteResponse::<Types<Sim>>::new(vote.bend(asked.vote), Some(last), granted)
                    }
                    _ => VoteResponse::new(asked.vote, None, true),
                };
                vote_response_bytes::<Sim>(&response)
            }
            (SNAPSHOT_BEGIN | SNAPSHOT_CHUNK | SNAPSHOT_END, answer) => {
                let vote = match answer {
                    Answer::Snapshot(vote) => vote.bend(Vote::new_committed(1, OWN)),
                    _ => Vote::new(0, 0),
                };
                snapshot_reply_bytes(&vote)
            }
            _ => return reply.refuse(&ErrorReply::new(ErrorCode::NotReady, "not that")),
        };
        reply.send(header.kind | REPLY, |out| out.extend_from_slice(&payload));
    }
}

impl AnswerVote {
    fn bend(self, asked: Vote) -> Vote {
        let far = if self.far { FAR } else { 0 };
        let term = asked.leader_id.term.wrapping_add_signed(self.by.into()).wrapping_add(far) & (u64::MAX >> 1);
        let replica = u64::from(self.replica % 5);
        if self.committed { Vote::new_committed(term, replica) } else { Vote::new(term, replica) }
    }
}
