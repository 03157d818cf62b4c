//! Writes and reads through a replica.

use std::future::Future;
use std::time::Duration;

use kahuna_protocol::Outcome;
use kahuna_protocol::batch::Batch;
use openraft::errors::{ClientWriteError, ForwardReason, LinearizableReadError, RaftError};
use openraft::impls::OneshotResponder;
use openraft::rt::{Instant as _, WatchReceiver as _};
use openraft::{LinearizerOption, ReadPolicy};

use super::eager::Eager;
use super::error::{ProposeError, ReadError};
use super::replica::Replica;
use super::types::Proposal;
use crate::env::Env;

/// How often a proposal is tried again because the lease of this leader was not confirmed yet.
const LEASE_ATTEMPTS: usize = 4;

impl<E: Env> Replica<E> {
    /// Proposes `batch`: one outcome per command once it is applied here. Batches enter the log in the order of these
    /// calls, also if their futures are not polled yet. Dropping a future gives up the answer only.
    pub fn propose(&self, batch: Batch) -> impl Future<Output = Result<Vec<Outcome>, ProposeError>> + use<E> {
        let raft = self.raft.clone();
        Eager::new(async move {
            let mut attempts = LEASE_ATTEMPTS;
            loop {
                let (responder, answer) = OneshotResponder::new_pair();
                if raft.client_write_ff(Proposal(batch.clone()), Some(responder)).await.is_err() {
                    return Err(ProposeError::NotLeader(None));
                }
                let forward = match answer.await {
                    Ok(Ok(written)) => return Ok(written.data.0),
                    Ok(Err(ClientWriteError::ForwardToLeader(forward))) => forward,
                    _ => return Err(ProposeError::Unknown),
                };
                attempts -= 1;
                // A leader that no majority has confirmed lately takes no writes; a ReadIndex has it confirmed.
                let may_lead = forward.reason == ForwardReason::LeaseExpired && attempts > 0;
                if !may_lead || raft.get_read_linearizer(ReadPolicy::ReadIndex).await.is_err() {
                    return Err(ProposeError::NotLeader(forward.leader_node.map(|member| member.incarnation)));
                }
            }
        })
    }

    /// Returns when the machine may be read: a majority confirmed, after this call, that this replica leads, and
    /// everything that was committed by then is applied.
    pub fn read_index(&self) -> impl Future<Output = Result<(), ReadError>> + use<E> {
        self.read(ReadPolicy::ReadIndex.into())
    }

    /// Like [`read_index`](Self::read_index), without asking other replicas: trusts the lease but for its
    /// [margin](crate::config::Timing::lease_margin), and with it the rates of clocks.
    pub fn lease_read(&self) -> impl Future<Output = Result<(), ReadError>> + use<E> {
        let timing = self.links.timing;
        let trusted = timing.election_max - timing.lease_margin();
        self.read(LinearizerOption::new(Some(trusted), false).with_wait_timeout(Duration::ZERO))
    }

    /// Whether a majority confirmed lately that this replica leads, if it does: then a proposal is taken.
    pub fn has_lease(&self) -> bool {
        let metrics = self.raft.data_metrics();
        let confirmed = metrics.borrow_watched().last_quorum_acked.map(|at| at.into_inner().elapsed());
        let timing = self.links.timing;
        confirmed.is_some_and(|age| age < timing.election_max - timing.lease_margin()) || self.voters().len() == 1
    }

    fn read(&self, policy: LinearizerOption) -> impl Future<Output = Result<(), ReadError>> + use<E> {
        let (raft, applied, reads) = (self.raft.clone(), self.applied.clone(), self.links.reads.clone());
        Eager::new(async move {
            let _waits = reads.one();
            match raft.get_read_linearizer(policy).await {
                Ok(linearizer) if applied.last().is_some_and(|last| last.index >= linearizer.read_log_id().index()) => {
                    Ok(())
                }
                Ok(linearizer) => linearizer.await_ready(&raft).await.map(drop).map_err(|_| ReadError::Stopped),
                Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                    Err(ReadError::NotLeader(forward.leader_node.map(|member| member.incarnation)))
                }
                Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(ReadError::NoQuorum),
                Err(RaftError::Fatal(_)) => Err(ReadError::Stopped),
            }
        })
    }
}
