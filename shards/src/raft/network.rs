//! openraft's network: what it asks of other replicas, over their links.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::{Either, select};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};

use super::inbound::voted;
use super::link::{ReplicaLink, ReplicaLinks};
use super::messages::{
    PRE_VOTE, TRANSFER_LEADER, VOTE, put_transfer_leader_request, put_vote_request, transfer_leader_response,
    vote_response,
};
use super::pipeline::Pipeline;
use super::snapshot::{Snapshot, SnapshotData, Source, send_snapshot};
use super::types::{Member, Types, Vote};
use crate::env::Env;

/// Makes the networks of one replica.
pub struct NetworkFactory<E: Env>(pub ReplicaLinks<E>);

impl<E: Env> RaftNetworkFactory<Types<E>> for NetworkFactory<E> {
    type Network = Network<E>;

    async fn new_client(&mut self, target: u64, member: &Member) -> Network<E> {
        Network(self.0.link(target, member))
    }
}

/// The network to one replica.
pub struct Network<E: Env>(ReplicaLink<E>);

impl<E: Env> Network<E> {
    async fn ask_vote(
        &self,
        kind: u16,
        request: &VoteRequest<Types<E>>,
        limit: Duration,
    ) -> Result<VoteResponse<Types<E>>, RPCError<Types<E>>> {
        let link = &self.0;
        let answer = link.call(kind, limit, |out| put_vote_request(out, request)).await;
        let answer = link.answer(answer, RPCTypes::Vote, limit, kind, |body| vote_response::<E>(body))?;
        voted::<E>(request.vote, kind == PRE_VOTE, answer, link.to()).map_err(|wrong| link.refuse(&wrong))
    }
}

impl<E: Env> RaftNetworkV2<Types<E>> for Network<E> {
    type SnapshotData = SnapshotData<E>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types<E>>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<E>>, RPCError<Types<E>>> {
        let link = &self.0;
        let answer = link.append(&request).await;
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        link.appended(request.vote, request.leader_commit, (request.prev_log_id, last), answer)
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(self.0.backoff())
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
        let answers: BoxStream<'s, _> = Box::pin(Pipeline::new(self.0.clone(), input));
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
        match select(pin!(cancel), pin!(send_snapshot(&self.0, vote, &file, &owner))).await {
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
        let answer = self.0.call(TRANSFER_LEADER, limit, |out| put_transfer_leader_request(out, &request)).await;
        self.0.answer(answer, RPCTypes::TransferLeader, limit, TRANSFER_LEADER, |body| {
            transfer_leader_response::<E>(body)
        })
    }
}
