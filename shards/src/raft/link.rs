//! The link to another replica of the group: calls over the shard's peer links, and what their answers mean to openraft.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{GroupId, Incarnation, ReplicaId};
use openraft::RPCTypes;
use openraft::errors::{NetworkError, RPCError, Timeout, Unreachable};
use openraft::network::Backoff;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};

use super::encoding::Malformed;
use super::full_disks::FullDisks;
use super::heartbeats::Restless;
use super::inbound::{Acknowledged, Wrong, heeded};
use super::log_store::LogStore;
use super::messages::{APPEND, LEADS, READY, REPLY, appended, leads, put_append, readiness};
use super::own_flush::Unanswered;
use super::reads::Reads;
use super::types::{LogId, Member, Types, Vote};
use crate::config::Timing;
use crate::env::Env;
use crate::peer::{CallError, Calling, PeerReply, Peers};

/// Delays of replication to a replica that does not answer.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(10);
const LONGEST_BACKOFF: Duration = Duration::from_millis(400);
/// While its node is down: short enough that a word of its return that was missed costs little.
const BACKOFF_WHILE_DOWN: Duration = Duration::from_secs(5);

/// The answer to an append, to come.
pub struct Appending<E: Env> {
    calling: Calling<E>,
    _unanswered: Option<Unanswered<E>>,
}

impl<E: Env> Future for Appending<E> {
    type Output = Result<PeerReply, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.calling).poll(cx)
    }
}

/// Makes links for one replica.
pub struct ReplicaLinks<E: Env> {
    /// The shard's peer links.
    pub peers: Rc<Peers<E>>,
    /// Group of the replica.
    pub group: GroupId,
    /// This replica.
    pub from: ReplicaId,
    /// Raft's times.
    pub timing: Timing,
    /// This replica's log.
    pub log: LogStore<E>,
    /// Keeps the state of the other replicas' disks, from their answers.
    pub full_disks: Rc<FullDisks>,
    /// Takes down what the others acknowledge.
    pub acknowledged: Rc<Acknowledged>,
    /// Learns that something was sent that is to be acknowledged.
    pub restless: Rc<Restless<E>>,
    /// Reads that wait for openraft.
    pub reads: Reads,
}

impl<E: Env> ReplicaLinks<E> {
    /// The link to one replica.
    pub fn link(&self, to: u64, member: &Member) -> ReplicaLink<E> {
        let prelude = PeerPrelude { group: self.group, from: self.from, to: ReplicaId(to) };
        ReplicaLink {
            peers: self.peers.clone(),
            prelude,
            member: member.incarnation,
            timing: self.timing,
            log: self.log.clone(),
            full_disks: self.full_disks.clone(),
            acknowledged: self.acknowledged.clone(),
            restless: self.restless.clone(),
            reads: self.reads.clone(),
        }
    }
}

/// The link to one replica. It has no state: the connections are the shard's.
pub struct ReplicaLink<E: Env> {
    peers: Rc<Peers<E>>,
    prelude: PeerPrelude,
    member: Incarnation,
    timing: Timing,
    log: LogStore<E>,
    full_disks: Rc<FullDisks>,
    acknowledged: Rc<Acknowledged>,
    restless: Rc<Restless<E>>,
    reads: Reads,
}

impl<E: Env> Clone for ReplicaLink<E> {
    fn clone(&self) -> Self {
        Self {
            peers: self.peers.clone(),
            log: self.log.clone(),
            full_disks: self.full_disks.clone(),
            acknowledged: self.acknowledged.clone(),
            restless: self.restless.clone(),
            reads: self.reads.clone(),
            ..*self
        }
    }
}

impl<E: Env> ReplicaLink<E> {
    /// Sends one message, now.
    pub fn call(&self, kind: u16, limit: Duration, payload: impl FnOnce(&mut Vec<u8>)) -> Calling<E> {
        self.peers.call(self.member, self.prelude, kind, 0, limit, payload)
    }

    /// Sends an append, now.
    pub fn append(&self, request: &AppendEntriesRequest<Types<E>>) -> Appending<E> {
        self.restless.note();
        let has_entries = !request.entries.is_empty();
        let unanswered = has_entries.then(|| self.log.own_flush().unanswered());
        let calling = self.call(APPEND, self.patience(), |out| put_append(out, request));
        Appending { calling, _unanswered: unanswered }
    }

    /// Delays of replication that fails: while the node is known to be down they are long, for its return ends them.
    pub fn backoff(&self) -> Backoff {
        let (peers, member) = (self.peers.clone(), self.member);
        let mut delay = SHORTEST_BACKOFF;
        Backoff::new(std::iter::from_fn(move || {
            if !peers.is_reachable(member) {
                return Some(BACKOFF_WHILE_DOWN);
            }
            let next = LONGEST_BACKOFF.min(2 * delay);
            Some(std::mem::replace(&mut delay, next))
        }))
    }

    /// How long an append may be without answer. Long: a follower whose disk is slow is no better served by a repetition;
    /// one that is gone is noticed by its link.
    pub fn patience(&self) -> Duration {
        (4 * self.timing.election_max).max(Duration::from_secs(1))
    }

    /// The number of the replica at the other end.
    pub fn to(&self) -> u64 {
        self.prelude.to.0
    }

    /// Interval of the leader's heartbeats.
    pub fn heartbeat(&self) -> Duration {
        self.timing.heartbeat
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

    /// Whether that replica leads in `term`, by its own word.
    pub async fn leads(&self, term: u64) -> Result<bool, RPCError<Types<E>>> {
        let limit = self.timing.election_min;
        let answer = self.call(LEADS, limit, |out| out.extend_from_slice(&term.to_le_bytes())).await;
        self.answer(answer, RPCTypes::Vote, limit, LEADS, leads)
    }

    /// Handles the answer to an append that was sent under `vote` with the commit `committed` and the entries behind
    /// `previous` up to `last`.
    pub fn appended(
        &self,
        vote: Vote,
        committed: Option<LogId>,
        (previous, last): (Option<LogId>, Option<LogId>),
        answer: Result<PeerReply, CallError>,
    ) -> Result<AppendEntriesResponse<Types<E>>, RPCError<Types<E>>> {
        let answer = self.answer(answer, RPCTypes::AppendEntries, self.patience(), APPEND, |body| appended::<E>(body));
        let (response, disk_full) = answer?;
        let follower = self.prelude.to.0;
        let checked = match response {
            AppendEntriesResponse::Success => {
                self.acknowledge(vote, last, committed);
                Ok(response)
            }
            AppendEntriesResponse::PartialSuccess(reached) => {
                let is_sent = previous <= reached && reached <= last && self.has(reached);
                self.acknowledge(vote, reached.filter(|_| is_sent), committed);
                if is_sent { Ok(response) } else { Err(Wrong::Answer("acknowledges what was not sent")) }
            }
            AppendEntriesResponse::Conflict => {
                self.acknowledged.check_conflict(follower, vote, previous).map(|()| response)
            }
            AppendEntriesResponse::HigherVote(theirs) => {
                heeded::<E>(vote, theirs, follower).map(AppendEntriesResponse::HigherVote)
            }
        };
        let response = checked.map_err(|wrong| self.refuse(&wrong))?;
        self.full_disks.note(follower, disk_full);
        Ok(response)
    }

    /// Takes down that the other replica acknowledged, to the leader of `vote`, everything up to `last`, in
    /// answer to a message with the commit `committed`.
    pub fn acknowledge(&self, vote: Vote, last: Option<LogId>, committed: Option<LogId>) {
        self.acknowledged.note(self.prelude.to.0, vote, last, committed, E::boot_clock());
    }

    /// Whether it changes nothing for openraft that this replica's followers have everything up to `last`: that is committed, it
    /// is all there is, and no read waits for it to be confirmed.
    pub fn is_old_news(&self, last: Option<LogId>) -> bool {
        last <= self.log.committed() && last == self.log.with_entries(|entries| entries.last()) && !self.reads.wait()
    }

    /// Whether this replica's log has this entry.
    fn has(&self, id: Option<LogId>) -> bool {
        let at = |id: LogId| self.log.with_entries(|entries| entries.get(id.index).map(|entry| entry.log_id));
        id.is_none_or(|id| at(id) == Some(id) || self.log.with_entries(|entries| entries.purged()) == Some(id))
    }

    /// Refuses an answer that no honest replica gives.
    pub fn refuse(&self, wrong: &Wrong) -> RPCError<Types<E>> {
        let PeerPrelude { group, to, .. } = self.prelude;
        let text = format!("group {group}: an answer of replica {to} makes no sense: {wrong}");
        self.peers.refused(self.member, &text);
        self.malformed_reply(&wrong.to_string())
    }

    /// Converts an answer to openraft's form.
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
                decode(&reply.body).map_err(|error| self.malformed_reply(&error.to_string()))
            }
            Ok(reply) => Err(self.malformed_reply(&format!("the answer {:#06x} to {kind:#06x}", reply.kind))),
            // Both mean that asking again at once is of no use.
            Err(error @ (CallError::NotSent(_) | CallError::Refused(..))) => {
                Err(Unreachable::from_string(error.to_string()).into())
            }
            Err(error @ (CallError::Lost(_) | CallError::Busy)) => {
                Err(NetworkError::from_string(error.to_string()).into())
            }
            Err(CallError::TimedOut) => {
                Err(Timeout { action, id: self.prelude.from.0, target: self.prelude.to.0, timeout: limit }.into())
            }
        }
    }

    /// An answer that makes no sense.
    pub fn malformed_reply(&self, what: &str) -> RPCError<Types<E>> {
        NetworkError::from_string(format!("replica {} answered nonsense: {what}", self.prelude.to)).into()
    }
}
