//! Answers what other replicas of the group ask: appends, votes, transfers of the leadership, snapshots.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::{Either, select};
use kahuna_protocol::{ErrorCode, ErrorReply, GroupId, ReplicaId};
use kahuna_wal::Space;
use openraft::ServerState;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use openraft::rt::WatchReceiver as _;

use super::admitted::{Admitted, Door};
use super::answers::Acknowledged;
use super::claim::Claim;
use super::election::{check_transfer_leader, check_vote_request};
use super::expected::Known;
use super::sender::Sender;
use super::term::most_term;
use super::wrong::Wrong;
use crate::env::Env;
use crate::peer::Peers;
use crate::raft::applied::AppliedState;
use crate::raft::boot_gate::BootGate;
use crate::raft::eager::Eager;
use crate::raft::election_timer::ElectionTimer;
use crate::raft::encoding::Malformed;
use crate::raft::heartbeats::Restless;
use crate::raft::log_store::LogStore;
use crate::raft::messages::{
    APPEND, LEADS, PRE_VOTE, READY, REPLY, SNAPSHOT_BEGIN, SNAPSHOT_CHUNK, SNAPSHOT_END, SnapshotBegin,
    TRANSFER_LEADER, VOTE, append, appended_bytes, asked_term, chunk, leads_bytes, readiness_bytes, snapshot_end,
    snapshot_reply_bytes, transfer_leader_request, transfer_leader_response_bytes, vote_request, vote_response_bytes,
};
use crate::raft::snapshot::SnapshotTransfer;
use crate::raft::state_machine::Raft;
use crate::raft::types::{ServerMetrics, Types, Vote};

/// Hands messages of other replicas to openraft, once they are checked.
pub struct InboundHandler<E: Env> {
    /// Group of the replica.
    pub group: GroupId,
    /// This replica.
    pub id: ReplicaId,
    /// openraft's engine of the replica.
    pub raft: Raft<E>,
    /// Vote, state, leader and membership, as openraft reports them.
    pub server: ServerMetrics<E>,
    /// Entries and vote of the replica, in the shard's log.
    pub log: LogStore<E>,
    /// Machine of the replica, and how far it has applied.
    pub applied: Rc<AppliedState<E>>,
    /// Keeps votes back after a start.
    pub gate: BootGate,
    /// Learns of the leader's messages.
    pub timer: Rc<ElectionTimer<E>>,
    /// What this replica's followers have acknowledged, if it leads.
    pub acknowledged: Rc<Acknowledged>,
    /// Whether it has to repeat something to them.
    pub restless: Rc<Restless<E>>,
    /// The shard's peer links, which bound what is unanswered.
    pub peers: Rc<Peers<E>>,
    /// The claims that were let in and not answered yet.
    pub door: Door,
    /// The snapshot that a leader is sending.
    pub transfer: SnapshotTransfer<E>,
}

impl<E: Env> InboundHandler<E> {
    /// Answers a message: kind and body of the reply. The caller has checked that this replica is meant.
    /// Messages are handed to Raft in the order of these calls, also if their futures are not polled yet: an append that
    /// overtook the one before it would be refused, and the leader would take that for a log gone back.
    ///
    /// # Errors
    /// `BadFrame` for a body that is malformed or an unknown kind; `BadRequest` for a message that no honest replica sends, see
    /// [`inbound`](super); `Busy` when this shard has too much that other nodes sent and that is not answered yet:
    /// nothing of it was looked at; `NotReady` while the boot gate holds, when the replica was shut down, and for a part of
    /// a snapshot that does not follow the one before it.
    pub fn on_message(
        self: &Rc<Self>,
        from: Sender,
        kind: u16,
        body: Bytes,
    ) -> impl Future<Output = Result<(u16, Vec<u8>), ErrorReply>> + use<E> {
        let handler = self.clone();
        let taken = self.peers.unanswered.admit(body.len());
        Eager::new(async move {
            let _until_answered = taken.ok_or_else(|| handler.is_behind())?;
            match kind {
                APPEND => handler.on_append(from, &body).await,
                // Apart, so that the future of an append stays small.
                _ => Box::pin(handler.answer(from, kind, body)).await,
            }
        })
    }

    async fn on_append(&self, from: Sender, body: &Bytes) -> Result<(u16, Vec<u8>), ErrorReply> {
        let (request, admitted) = self.admit_append(from, body)?;
        self.transfer.forget_stale();
        let vote = request.vote;
        let response = {
            let last = request.entries.last().map(|entry| entry.log_id);
            let asked = self.log.own_flush().asked(last.map(|last| (vote, last)));
            match select(pin!(asked.durable()), pin!(self.raft.append_entries(request))).await {
                Either::Left(_) => AppendEntriesResponse::Success,
                Either::Right((response, _)) => response.map_err(stopped)?,
            }
        };
        if response.is_success() {
            admitted.taken();
        }
        if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
            self.timer.hear(vote.leader_id.term, from.boot);
        }
        Ok((APPEND | REPLY, appended_bytes::<E>(&response, self.log.space() != Space::Plenty)))
    }

    /// Checks an append, and lets it in.
    fn admit_append(
        &self,
        from: Sender,
        body: &Bytes,
    ) -> Result<(AppendEntriesRequest<Types<E>>, Admitted<'_>), ErrorReply> {
        let server = self.server.borrow_watched();
        let members = server.membership_config.membership();
        from.check(self.id, members).map_err(|wrong| self.refuse(from, &wrong))?;
        let mut request = append::<E>(body).map_err(bad_frame)?;
        let claim = from.leads(request.vote).and_then(|()| Claim::of_append::<E>(&request, members));
        drop(server);
        let admitted = self.admit(from, claim)?;
        request.leader_commit = admitted.commit;
        Ok((request, admitted))
    }

    async fn answer(&self, from: Sender, kind: u16, body: Bytes) -> Result<(u16, Vec<u8>), ErrorReply> {
        let _asked = self.log.own_flush().asked(None);
        {
            let server = self.server.borrow_watched();
            let checked = from.check(self.id, server.membership_config.membership());
            checked.map_err(|wrong| self.refuse(from, &wrong))?;
        }
        let payload = match kind {
            VOTE | PRE_VOTE => self.on_vote(from, kind, vote_request::<E>(&body).map_err(bad_frame)?).await?,
            TRANSFER_LEADER => {
                let request = transfer_leader_request::<E>(&body).map_err(bad_frame)?;
                self.gate.pass::<E>()?;
                check_transfer_leader::<E>(&request, from).map_err(|wrong| self.refuse(from, &wrong))?;
                self.timer.resign(request.from_leader().leader_id.term);
                transfer_leader_response_bytes::<E>(&self.raft.handle_transfer_leader(request).await.map_err(stopped)?)
            }
            READY => self.on_ready(),
            LEADS => self.on_leads(asked_term(&body).map_err(bad_frame)?).await?,
            SNAPSHOT_BEGIN => self.on_snapshot_begin(from, SnapshotBegin::read(&body).map_err(bad_frame)?).await?,
            SNAPSHOT_CHUNK => self.on_snapshot_chunk(from, &body).await?,
            SNAPSHOT_END => self.on_snapshot_end(from, snapshot_end(&body).map_err(bad_frame)?).await?,
            kind => {
                let text = format!("replica {} sent the unknown kind {kind:#06x}", from.replica);
                return Err(ErrorReply::new(ErrorCode::BadFrame, text));
            }
        };
        Ok((kind | REPLY, payload))
    }

    /// What others sent waits here, most likely for the disk.
    fn is_behind(&self) -> ErrorReply {
        let unanswered = &self.peers.unanswered;
        let (messages, bytes) = (unanswered.requests(), unanswered.bytes());
        let text = format!("the shard has {messages} messages of other replicas, {bytes} bytes, unanswered");
        ErrorReply::new(ErrorCode::Busy, text)
    }

    /// Lets a claim in that an honest leader can make.
    fn admit(&self, from: Sender, claim: Result<Claim, Wrong>) -> Result<Admitted<'_>, ErrorReply> {
        let known = self.known();
        let admitted = claim.and_then(|claim| self.log.with_entries(|entries| self.door.admit(claim, entries, known)));
        admitted.map_err(|wrong| self.refuse(from, &wrong))
    }

    /// What this replica knows of itself; the door knows what it shares with its leader.
    fn known(&self) -> Known {
        let server = self.server.borrow_watched();
        let memberships = [&server.membership_config, &server.committed_membership_config];
        Known {
            vote: self.highest_vote(),
            most_term: most_term::<E>(),
            committed: self.log.committed().max(self.applied.last()),
            shared: None,
            memberships: memberships.map(|membership| membership.log_id().map(|id| id.index)),
        }
    }

    /// The highest vote seen: openraft reports its own vote a little later than it stores it.
    fn highest_vote(&self) -> Vote {
        let told = self.server.borrow_watched().vote;
        self.log.vote().filter(|stored| *stored > told).unwrap_or(told)
    }

    /// Refuses what no honest replica sends.
    fn refuse(&self, from: Sender, wrong: &Wrong) -> ErrorReply {
        let Sender { replica, incarnation, .. } = from;
        let text = format!("group {}: a message of replica {replica} makes no sense: {wrong}", self.group);
        self.peers.refused(incarnation, &text);
        ErrorReply::new(ErrorCode::BadRequest, text)
    }

    async fn on_vote(&self, from: Sender, kind: u16, request: VoteRequest<Types<E>>) -> Result<Vec<u8>, ErrorReply> {
        // The leader that appointed the candidate gave its own lease up.
        if !(kind == VOTE && request.leadership_transfer) {
            self.gate.pass::<E>()?;
        }
        check_vote_request::<E>(&request, from).map_err(|wrong| self.refuse(from, &wrong))?;
        let response = match kind {
            VOTE => self.raft.vote(request).await,
            _ if self.timer.refuses_pre_vote(from.replica) => {
                self.pass_through_engine().await?;
                // If this replica leads, the candidate is sent a heartbeat.
                self.acknowledged.forget_commits(from.replica.0);
                self.restless.note();
                let last = self.log.with_entries(|entries| entries.last());
                Ok(VoteResponse::new(self.highest_vote(), last, false))
            }
            _ => self.raft.pre_vote(request).await,
        };
        Ok(vote_response_bytes::<E>(&response.map_err(stopped)?))
    }

    async fn on_leads(&self, term: u64) -> Result<Vec<u8>, ErrorReply> {
        self.pass_through_engine().await?;
        Ok(leads_bytes(self.timer.leads(term)))
    }

    /// Returns once the engine has processed its earlier input: an engine that hangs does not lead, whatever its metrics show.
    async fn pass_through_engine(&self) -> Result<(), ErrorReply> {
        self.raft.with_raft_state(|_| ()).await.map_err(stopped)
    }

    fn on_ready(&self) -> Vec<u8> {
        let follows = self.server.borrow_watched().state == ServerState::Follower;
        readiness_bytes(
            follows && !self.gate.is_closed::<E>() && self.log.space() == Space::Plenty,
            self.log.with_entries(|entries| entries.last()),
        )
    }

    async fn on_snapshot_begin(&self, from: Sender, begin: SnapshotBegin) -> Result<Vec<u8>, ErrorReply> {
        from.leads(begin.vote).map_err(|wrong| self.refuse(from, &wrong))?;
        let own = self.server.borrow_watched().vote;
        if own > begin.vote {
            // The sender leads no more.
            return Ok(snapshot_reply_bytes(&own));
        }
        self.transfer.begin(&begin).await?;
        Ok(snapshot_reply_bytes(&begin.vote))
    }

    async fn on_snapshot_chunk(&self, from: Sender, body: &[u8]) -> Result<Vec<u8>, ErrorReply> {
        let (transfer, offset, blocks) = chunk(body).map_err(bad_frame)?;
        let own = self.server.borrow_watched().vote;
        let vote = self.transfer.chunk(from, own, transfer, offset, blocks).await?;
        Ok(snapshot_reply_bytes(&vote))
    }

    async fn on_snapshot_end(&self, from: Sender, transfer: u64) -> Result<Vec<u8>, ErrorReply> {
        let (vote, snapshot) = self.transfer.end(from, transfer).await?;
        let stored = self.server.borrow_watched().membership_config.clone();
        let admitted = self.admit(from, Claim::of_snapshot(vote, &snapshot.meta, stored.membership()))?;
        // openraft gets snapshots by another way than appends: an old snapshot must not overtake appends.
        if let Some(higher) = admitted.higher {
            return Ok(snapshot_reply_bytes(&higher));
        }
        let response = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        if response.vote == vote {
            admitted.taken();
            self.timer.hear(vote.leader_id.term, from.boot);
        }
        Ok(snapshot_reply_bytes(&response.vote))
    }
}

fn bad_frame(error: Malformed) -> ErrorReply {
    ErrorReply::new(ErrorCode::BadFrame, error.to_string())
}

fn stopped(error: impl std::fmt::Display) -> ErrorReply {
    ErrorReply::new(ErrorCode::NotReady, format!("the replica stopped: {error}"))
}
