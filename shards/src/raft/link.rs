//! The way to the other replicas of a group: openraft's network over the shard's peer links.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::{Either, select};
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{GroupId, Incarnation, ReplicaId};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, VoteRequest, VoteResponse,
};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse};
use openraft::{AsyncRuntime, OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};

use super::applied::Applied;
use super::encoding::Malformed;
use super::full_disks::FullDisks;
use super::inbound::{Acknowledged, Wrong, heeded, voted};
use super::log_store::LogStore;
use super::messages::{
    APPEND, PRE_VOTE, READY, REPLY, SNAPSHOT_BEGIN, SNAPSHOT_CHUNK, SNAPSHOT_END, SnapshotBegin, TAKE_OVER, VOTE,
    appended, put_append, put_chunk_head, put_take_over, put_vote_request, readiness, snapshot_reply, taken_over,
    vote_response,
};
use super::pipeline::Pipeline;
use super::snapshot::{BlockReader, SnapshotData, SnapshotFault, SnapshotFile, Source};
use super::state_machine::Snapshot;
use super::types::{LogId, Member, Types, Vote};
use crate::config::Timing;
use crate::env::Env;
use crate::peer::{CallError, Calling, PeerReply, Peers};

/// How long a receiver may take over a part of a snapshot, and over its installation.
const CHUNK_LIMIT: Duration = Duration::from_secs(10);
const INSTALL_LIMIT: Duration = Duration::from_secs(60);

/// Makes links for one replica.
pub struct Links<E: Env> {
    /// The shard's peer links.
    pub peers: Rc<Peers<E>>,
    /// The group.
    pub group: GroupId,
    /// This replica.
    pub from: ReplicaId,
    /// Raft's times.
    pub timing: Timing,
    /// This replica's log.
    pub log: LogStore<E>,
    /// Takes down what answers say of the others' disks.
    pub full_disks: Rc<FullDisks>,
    /// Takes down what the others acknowledge.
    pub acknowledged: Rc<Acknowledged>,
}

impl<E: Env> Links<E> {
    /// The link to one replica.
    pub fn link(&self, to: u64, member: &Member) -> Link<E> {
        let prelude = PeerPrelude { group: self.group.0, from: self.from.0, to };
        Link {
            peers: self.peers.clone(),
            prelude,
            member: member.incarnation,
            timing: self.timing,
            log: self.log.clone(),
            full_disks: self.full_disks.clone(),
            acknowledged: self.acknowledged.clone(),
        }
    }
}

impl<E: Env> RaftNetworkFactory<Types<E>> for Links<E> {
    type Network = Link<E>;

    async fn new_client(&mut self, target: u64, member: &Member) -> Link<E> {
        self.link(target, member)
    }
}

/// The way to one replica. It has no state: the connections are the shard's.
pub struct Link<E: Env> {
    peers: Rc<Peers<E>>,
    prelude: PeerPrelude,
    member: Incarnation,
    timing: Timing,
    log: LogStore<E>,
    full_disks: Rc<FullDisks>,
    acknowledged: Rc<Acknowledged>,
}

impl<E: Env> Clone for Link<E> {
    fn clone(&self) -> Self {
        Self {
            peers: self.peers.clone(),
            log: self.log.clone(),
            full_disks: self.full_disks.clone(),
            acknowledged: self.acknowledged.clone(),
            ..*self
        }
    }
}

impl<E: Env> Link<E> {
    /// Sends one message, now.
    pub fn call(&self, kind: u16, limit: Duration, payload: impl FnOnce(&mut Vec<u8>)) -> Calling<E> {
        self.peers.call(self.member, self.prelude, kind, 0, limit, payload)
    }

    /// How long an append may be without answer. Long: a follower whose disk is slow is no better served by a repetition;
    /// one that is gone is noticed by its link.
    pub fn patience(&self) -> Duration {
        (4 * self.timing.election_max).max(Duration::from_secs(1))
    }

    /// What the lease allows for, see [`Timing::lease_margin`].
    pub fn lease_margin(&self) -> Duration {
        self.timing.lease_margin()
    }

    /// Whether that replica may take the leadership over, and its last log id.
    pub async fn readiness(&self) -> Result<(bool, Option<LogId>), RPCError<Types<E>>> {
        let limit = self.timing.election_min;
        let answer = self.call(READY, limit, |_| {}).await;
        self.answer(answer, RPCTypes::TransferLeader, limit, READY, readiness)
    }

    /// What the answer to an append says that was sent under `vote`, with the entries behind `previous` up to `last`.
    pub fn appended(
        &self,
        vote: Vote,
        (previous, last): (Option<LogId>, Option<LogId>),
        answer: Result<PeerReply, CallError>,
    ) -> Result<AppendEntriesResponse<Types<E>>, RPCError<Types<E>>> {
        let answer = self.answer(answer, RPCTypes::AppendEntries, self.patience(), APPEND, |body| appended::<E>(body));
        let (response, disk_full) = answer?;
        let follower = self.prelude.to;
        let checked = match response {
            AppendEntriesResponse::Success => {
                self.acknowledged.note(follower, vote, last);
                Ok(response)
            }
            AppendEntriesResponse::PartialSuccess(reached) => {
                let is_sent = previous <= reached && reached <= last && self.has(reached);
                self.acknowledged.note(follower, vote, reached.filter(|_| is_sent));
                if is_sent { Ok(response) } else { Err(Wrong::Answer("acknowledges what was not sent")) }
            }
            AppendEntriesResponse::Conflict => {
                self.acknowledged.check_conflict(follower, vote, previous).map(|()| response)
            }
            AppendEntriesResponse::HigherVote(theirs) => {
                heeded::<E>(vote, theirs, follower).map(AppendEntriesResponse::HigherVote)
            }
        };
        let response = checked.map_err(|wrong| self.wrong(&wrong))?;
        self.full_disks.note(follower, disk_full);
        Ok(response)
    }

    /// Whether this replica's log has this entry.
    fn has(&self, id: Option<LogId>) -> bool {
        let at = |id: LogId| self.log.with_entries(|entries| entries.get(id.index).map(|entry| entry.log_id));
        id.is_none_or(|id| at(id) == Some(id) || self.log.with_entries(|entries| entries.purged()) == Some(id))
    }

    /// An answer that no honest replica gives.
    fn wrong(&self, wrong: &Wrong) -> RPCError<Types<E>> {
        let PeerPrelude { group, to, .. } = self.prelude;
        let text = format!("group {group}: an answer of replica {to} makes no sense: {wrong}");
        self.peers.refused(self.member, &text);
        self.nonsense(&wrong.to_string())
    }

    /// What an answer says, in openraft's words.
    pub fn answer<T>(
        &self,
        answer: Result<PeerReply, CallError>,
        action: RPCTypes,
        limit: Duration,
        kind: u16,
        decode: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<T, RPCError<Types<E>>> {
        match answer {
            Ok(reply) if reply.kind == kind | REPLY => {
                decode(&reply.body).map_err(|error| self.nonsense(&error.to_string()))
            }
            Ok(reply) => Err(self.nonsense(&format!("the answer {:#06x} to {kind:#06x}", reply.kind))),
            // Both mean that asking again at once is of no use.
            Err(error @ (CallError::NotSent(_) | CallError::Refused(..))) => {
                Err(Unreachable::from_string(error.to_string()).into())
            }
            Err(error @ (CallError::Lost(_) | CallError::Busy)) => {
                Err(NetworkError::from_string(error.to_string()).into())
            }
            Err(CallError::TimedOut) => {
                Err(Timeout { action, id: self.prelude.from, target: self.prelude.to, timeout: limit }.into())
            }
        }
    }

    /// An answer that makes no sense.
    pub fn nonsense(&self, what: &str) -> RPCError<Types<E>> {
        NetworkError::from_string(format!("replica {} answered nonsense: {what}", self.prelude.to)).into()
    }

    async fn ask_vote(
        &self,
        kind: u16,
        request: &VoteRequest<Types<E>>,
        limit: Duration,
    ) -> Result<VoteResponse<Types<E>>, RPCError<Types<E>>> {
        let answer = self.call(kind, limit, |out| put_vote_request(out, request)).await;
        let answer = self.answer(answer, RPCTypes::Vote, limit, kind, |body| vote_response::<E>(body))?;
        voted::<E>(request.vote, kind == PRE_VOTE, answer, self.prelude.to).map_err(|wrong| self.wrong(&wrong))
    }

    /// One step of a snapshot that is sent under `vote`: the receiver's vote if that is higher.
    async fn step(
        &self,
        vote: Vote,
        kind: u16,
        limit: Duration,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Option<Vote>, StreamingError<Types<E>>> {
        let answer = self.call(kind, limit, payload).await;
        let theirs = self.answer(answer, RPCTypes::InstallSnapshot, limit, kind, snapshot_reply)?;
        if theirs <= vote {
            return Ok(None);
        }
        let theirs = heeded::<E>(vote, theirs, self.prelude.to).map_err(|wrong| self.wrong(&wrong))?;
        if theirs > vote { Ok(Some(theirs)) } else { Err(self.nonsense("another leader of the same term").into()) }
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        file: &SnapshotFile<E>,
        owner: &Applied<E>,
    ) -> Result<SnapshotResponse<Types<E>>, StreamingError<Types<E>>> {
        let unreadable = |fault: SnapshotFault| {
            owner.report_damage(file, &fault);
            // openraft comes again after a pause, and gets the snapshot that is newest then.
            Unreachable::from_string(fault.to_string())
        };
        let transfer = rand::Rng::next_u64(&mut E::Runtime::thread_rng());
        let header = file.header.encode().into();
        let begin = SnapshotBegin { vote, transfer, file_bytes: file.bytes, header };
        let mut higher = self.step(vote, SNAPSHOT_BEGIN, CHUNK_LIMIT, |out| begin.put(out)).await?;
        let mut reader = BlockReader::checking(file);
        while higher.is_none()
            && let Some((offset, blocks)) = reader.next().await.map_err(unreadable)?
        {
            let put = |out: &mut Vec<u8>| {
                put_chunk_head(out, transfer, offset);
                out.extend_from_slice(blocks);
            };
            higher = self.step(vote, SNAPSHOT_CHUNK, CHUNK_LIMIT, put).await?;
        }
        if higher.is_none() {
            let put = |out: &mut Vec<u8>| out.extend_from_slice(&transfer.to_le_bytes());
            higher = self.step(vote, SNAPSHOT_END, INSTALL_LIMIT, put).await?;
        }
        if higher.is_none() {
            self.acknowledged.note(self.prelude.to, vote, Some(file.header.last));
        }
        Ok(SnapshotResponse::new(higher.unwrap_or(vote)))
    }
}

impl<E: Env> RaftNetworkV2<Types<E>> for Link<E> {
    type SnapshotData = SnapshotData<E>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types<E>>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<E>>, RPCError<Types<E>>> {
        let limit = self.patience();
        let answer = self.call(APPEND, limit, |out| put_append(out, &request)).await;
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        self.appended(request.vote, (request.prev_log_id, last), answer)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types<E>>, RPCError<Types<E>>>>, RPCError<Types<E>>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types<E>>> + OptionalSend + Unpin + 'static,
    {
        let answers: BoxStream<'s, _> = Box::pin(Pipeline::new(self.clone(), input));
        Box::pin(async move { Ok(answers) })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types<E>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<E>>, RPCError<Types<E>>> {
        self.ask_vote(VOTE, &request, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types<E>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<E>>, RPCError<Types<E>>> {
        self.ask_vote(PRE_VOTE, &request, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<E>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types<E>>, StreamingError<Types<E>>> {
        let Source::Stored { file, owner } = snapshot.snapshot.source else {
            return Err(NetworkError::from_string("a snapshot that is not installed here is not sent on").into());
        };
        match select(pin!(cancel), pin!(self.send_snapshot(vote, &file, &owner))).await {
            Either::Left((closed, _)) => Err(closed.into()),
            Either::Right((sent, _)) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types<E>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types<E>>, RPCError<Types<E>>> {
        let limit = option.hard_ttl();
        let answer = self.call(TAKE_OVER, limit, |out| put_take_over(out, &request)).await;
        self.answer(answer, RPCTypes::TransferLeader, limit, TAKE_OVER, |body| taken_over::<E>(body))
    }
}
