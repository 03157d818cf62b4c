//! What another replica of the group asks.

use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::{ErrorCode, ErrorReply};
use kahuna_wal::Space;
use openraft::ServerState;
use openraft::raft::VoteRequest;
use openraft::rt::WatchReceiver as _;

use super::encoding::Malformed;
use super::inbound::{Admitted, Claim, Known, Sender, Wrong, check_take_over, check_vote_request, most_term};
use super::messages::{
    APPEND, PRE_VOTE, READY, REPLY, SNAPSHOT_BEGIN, SNAPSHOT_CHUNK, SNAPSHOT_END, SnapshotBegin, TAKE_OVER, VOTE,
    append, appended_bytes, chunk, readiness_bytes, snapshot_end, snapshot_reply_bytes, take_over, taken_over_bytes,
    vote_request, vote_response_bytes,
};
use super::replica::Replica;
use super::snapshot::{Incoming, SnapshotFault};
use super::started::Started;
use super::state_machine::Snapshot;
use super::types::{Types, Vote};
use crate::env::{Env, ExitCode};

impl<E: Env> Replica<E> {
    /// Answers a message: kind and body of the reply. The caller has checked that this replica is meant.
    /// Messages are handed to Raft in the order of these calls, also if nobody polls their futures yet: an append that
    /// overtook the one before it would be refused, and the leader would take that for a log gone back.
    ///
    /// # Errors
    /// `BadFrame` for a body that is malformed or an unknown kind; `BadRequest` for what no honest replica says, see
    /// [`inbound`](super::inbound); `Busy` when this shard has too much that other nodes sent and that is not answered yet:
    /// nothing of it was looked at; `NotReady` while the boot gate holds, when the replica was shut down, and for a part of
    /// a snapshot that does not follow the one before it.
    pub fn on_message(
        self: &Rc<Self>,
        from: Sender,
        kind: u16,
        body: Bytes,
    ) -> impl Future<Output = Result<(u16, Vec<u8>), ErrorReply>> + use<E> {
        let replica = self.clone();
        let taken = self.links.peers.unanswered.admit(body.len());
        Started::new(async move {
            let _until_answered = taken.ok_or_else(|| replica.is_behind())?;
            replica.answer(from, kind, body).await
        })
    }

    async fn answer(&self, from: Sender, kind: u16, body: Bytes) -> Result<(u16, Vec<u8>), ErrorReply> {
        let stored = self.server.borrow_watched().membership_config.clone();
        let members = stored.membership();
        from.check(self.id, members).map_err(|wrong| self.refuse(from, &wrong))?;
        let payload = match kind {
            APPEND => {
                let mut request = append::<E>(&body).map_err(bad_frame)?;
                let claim = from.leads(request.vote).and_then(|()| Claim::of_append::<E>(&request, members));
                let admitted = self.admit(from, claim)?;
                request.leader_commit = admitted.commit;
                self.forget_stale_transfer();
                let response = self.raft.append_entries(request).await.map_err(stopped)?;
                if response.is_success() {
                    admitted.taken();
                }
                appended_bytes::<E>(&response, self.space() != Space::Plenty)
            }
            VOTE | PRE_VOTE => self.on_vote(from, kind, vote_request::<E>(&body).map_err(bad_frame)?).await?,
            TAKE_OVER => {
                let request = take_over::<E>(&body).map_err(bad_frame)?;
                self.pass_gate()?;
                check_take_over::<E>(&request, from).map_err(|wrong| self.refuse(from, &wrong))?;
                taken_over_bytes::<E>(&self.raft.handle_transfer_leader(request).await.map_err(stopped)?)
            }
            READY => self.on_ready(),
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
        let unanswered = &self.links.peers.unanswered;
        let (messages, bytes) = (unanswered.requests(), unanswered.bytes());
        let text = format!("the shard has {messages} messages of other replicas, {bytes} bytes, unanswered");
        ErrorReply::new(ErrorCode::Busy, text)
    }

    /// Whether the boot gate holds.
    pub(super) fn is_gated(&self) -> bool {
        E::boot_clock() < self.gate
    }

    /// Votes and hand-overs pass only when the lease that this replica may have granted before its start is over.
    fn pass_gate(&self) -> Result<(), ErrorReply> {
        if !self.is_gated() {
            return Ok(());
        }
        let left = self.gate.saturating_sub(E::boot_clock());
        let mut error = ErrorReply::new(ErrorCode::NotReady, "the replica was just started and does not vote yet");
        error.retry_after_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        Err(error)
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

    /// The highest vote seen: openraft tells of its own a little later than it stores it.
    fn highest_vote(&self) -> Vote {
        let told = self.server.borrow_watched().vote;
        self.log.vote().filter(|stored| *stored > told).unwrap_or(told)
    }

    /// Refuses what no honest replica sends.
    fn refuse(&self, from: Sender, wrong: &Wrong) -> ErrorReply {
        let Sender { replica, incarnation } = from;
        let text = format!("group {}: a message of replica {replica} makes no sense: {wrong}", self.group);
        self.links.peers.refused(incarnation, &text);
        ErrorReply::new(ErrorCode::BadRequest, text)
    }

    async fn on_vote(&self, from: Sender, kind: u16, request: VoteRequest<Types<E>>) -> Result<Vec<u8>, ErrorReply> {
        // The leader that appointed the candidate gave its own lease up.
        if !(kind == VOTE && request.leadership_transfer) {
            self.pass_gate()?;
        }
        check_vote_request::<E>(&request, from).map_err(|wrong| self.refuse(from, &wrong))?;
        let response = match kind {
            VOTE => self.raft.vote(request).await,
            _ => self.raft.pre_vote(request).await,
        };
        Ok(vote_response_bytes::<E>(&response.map_err(stopped)?))
    }

    fn on_ready(&self) -> Vec<u8> {
        let follows = self.server.borrow_watched().state == ServerState::Follower;
        readiness_bytes(
            follows && !self.is_gated() && self.space() == Space::Plenty,
            self.log.with_entries(|entries| entries.last()),
        )
    }

    /// This replica's own vote if it is above `vote`: then the sender leads no more.
    fn higher_vote(&self, vote: Vote) -> Option<Vote> {
        let own = self.server.borrow_watched().vote;
        (own > vote).then_some(own)
    }

    async fn on_snapshot_begin(&self, from: Sender, begin: SnapshotBegin) -> Result<Vec<u8>, ErrorReply> {
        from.leads(begin.vote).map_err(|wrong| self.refuse(from, &wrong))?;
        if let Some(higher) = self.higher_vote(begin.vote) {
            return Ok(snapshot_reply_bytes(&higher));
        }
        if self.applied.is_short_of_room() {
            let text = format!("group {}: the disk was full a moment ago, no snapshot fits", self.group);
            return Err(ErrorReply::new(ErrorCode::DiskFull, text));
        }
        self.transfer.set(begin.transfer);
        let before = self.incoming.take();
        self.give_up(before).await;
        let begun = Incoming::begin(self.applied.disk(), self.applied.dir(), self.group.0, &begin).await;
        let incoming = begun.map_err(|fault| self.broken(&fault))?;
        self.put_back(incoming).await;
        Ok(snapshot_reply_bytes(&begin.vote))
    }

    async fn on_snapshot_chunk(&self, from: Sender, body: &[u8]) -> Result<Vec<u8>, ErrorReply> {
        let (transfer, offset, blocks) = chunk(body).map_err(bad_frame)?;
        let mut incoming = self.take_incoming(from, transfer)?;
        let vote = incoming.vote;
        if let Some(higher) = self.higher_vote(vote) {
            self.give_up(Some(incoming)).await;
            return Ok(snapshot_reply_bytes(&higher));
        }
        if let Err(fault) = incoming.chunk(offset, blocks).await {
            self.give_up(Some(incoming)).await;
            return Err(self.broken(&fault));
        }
        self.put_back(incoming).await;
        Ok(snapshot_reply_bytes(&vote))
    }

    async fn on_snapshot_end(&self, from: Sender, transfer: u64) -> Result<Vec<u8>, ErrorReply> {
        let mut incoming = self.take_incoming(from, transfer)?;
        let vote = incoming.vote;
        if let Err(fault) = incoming.sync().await {
            self.give_up(Some(incoming)).await;
            return Err(self.broken(&fault));
        }
        let (header, data) = incoming.finish().map_err(|fault| self.broken(&fault))?;
        let snapshot = Snapshot::<E> { meta: header.meta(), snapshot: data };
        let stored = self.server.borrow_watched().membership_config.clone();
        let admitted = self.admit(from, Claim::of_snapshot(vote, &snapshot.meta, stored.membership()))?;
        // openraft hears of snapshots by another way than of appends: one that is too old must not overtake those.
        if let Some(higher) = admitted.higher {
            return Ok(snapshot_reply_bytes(&higher));
        }
        let response = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        if response.vote == vote {
            admitted.taken();
        }
        Ok(snapshot_reply_bytes(&response.vote))
    }

    fn take_incoming(&self, from: Sender, transfer: u64) -> Result<Incoming<E>, ErrorReply> {
        let is_meant =
            |incoming: &mut Incoming<E>| incoming.transfer == transfer && from.speaks_for(incoming.vote).is_ok();
        let incoming = self.incoming.borrow_mut().take_if(is_meant);
        incoming.ok_or_else(|| ErrorReply::new(ErrorCode::NotReady, "no such snapshot is on its way: begin again"))
    }

    /// Keeps a transfer for its next part, unless another one has begun meanwhile.
    async fn put_back(&self, incoming: Incoming<E>) {
        if incoming.transfer == self.transfer.get() {
            self.incoming.replace(Some(incoming));
        } else {
            self.give_up(Some(incoming)).await;
        }
    }

    async fn give_up(&self, incoming: Option<Incoming<E>>) {
        if let Some(incoming) = incoming {
            incoming.give_up(self.applied.disk()).await;
        }
    }

    /// Frees what a sender left behind that died or lost its leadership, once the group goes on without it.
    fn forget_stale_transfer(&self) {
        if let Some(stale) = self.incoming.borrow_mut().take_if(|incoming| incoming.is_stale()) {
            let disk = self.applied.disk().clone();
            E::spawn(async move { stale.give_up(&disk).await });
        }
    }

    /// A transfer that cannot go on; a disk that failed ends the process.
    fn broken(&self, fault: &SnapshotFault) -> ErrorReply {
        let text = format!("group {}: a snapshot came to nothing: {fault}", self.group);
        match fault {
            SnapshotFault::Io { .. } => E::abort(ExitCode::DiskFailed, &text),
            SnapshotFault::NoRoom { .. } => {
                self.applied.found_no_room(fault);
                ErrorReply::new(ErrorCode::DiskFull, text)
            }
            SnapshotFault::Header { .. } | SnapshotFault::Newer { .. } | SnapshotFault::Block { .. } => {
                ErrorReply::new(ErrorCode::NotReady, text)
            }
        }
    }
}

fn bad_frame(error: Malformed) -> ErrorReply {
    ErrorReply::new(ErrorCode::BadFrame, error.to_string())
}

fn stopped(error: impl std::fmt::Display) -> ErrorReply {
    ErrorReply::new(ErrorCode::NotReady, format!("the replica stopped: {error}"))
}
