//! Who leads, and how that changes on purpose.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::{Incarnation, ReplicaId};
use openraft::ServerState;
use openraft::metrics::RaftServerMetrics;
use openraft::rt::WatchReceiver as _;

use super::election_timer::ElectionTimer;
use super::error::TransferError;
use super::replica::Replica;
use super::state_machine::Raft;
use super::types::{LogId, ServerMetrics, Types};
use crate::env::Env;

/// How far behind the leader's log a voter may be that takes over.
const TRANSFER_LAG: u64 = 64;

/// Who leads a group, as one replica knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leader {
    /// The highest term seen.
    pub term: u64,
    /// The replica that leads in it, if one is known.
    pub replica: Option<ReplicaId>,
    /// Data directory of that replica.
    pub incarnation: Option<Incarnation>,
    /// It is this replica.
    pub leading: bool,
}

impl<E: Env> Replica<E> {
    /// Who leads, as far as this replica knows.
    pub fn leader(&self) -> Leader {
        leader_of(&self.server.borrow_watched())
    }

    /// Returns once [`leader`](Self::leader) is not `seen` any more, or the replica is shut down.
    pub async fn leader_changed(&self, seen: &Leader) {
        let mut metrics = self.server.clone();
        loop {
            let now = leader_of(&metrics.borrow_and_update());
            if now != *seen || metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// When it campaigns, and whether it believes in a leader.
    pub fn timer(&self) -> &Rc<ElectionTimer<E>> {
        &self.timer
    }

    /// A node that was away is back: replication to its replica goes on at once, and a heartbeat names its leader.
    pub fn peer_up(&self, incarnation: Incarnation) {
        let here = self.members().into_iter().filter(|(_, member)| *member == incarnation);
        let ids: Vec<u64> = here.map(|(id, _)| id.0).collect();
        if !ids.is_empty() && self.leader().leading {
            ids.iter().for_each(|&id| self.links.acknowledged.forget_commits(id));
            self.links.restless.note();
            let raft = self.raft.clone();
            E::spawn(async move { drop(raft.trigger().reset_backoff(ids).await) });
        }
    }

    /// Transfers the leadership to `to` if that replica is there, past its boot gate, caught up and not short of room. From
    /// then on this one takes no writes until a leader is elected, see [`leader_changed`](Self::leader_changed).
    ///
    /// # Errors
    /// When nothing was changed.
    pub async fn transfer_to(&self, to: ReplicaId) -> Result<(), TransferError> {
        if !self.leader().leading {
            return Err(TransferError::NotLeader);
        }
        let membership = self.server.borrow_watched().membership_config.clone();
        let member = membership.get_node(&to.0).filter(|_| membership.voter_ids().any(|voter| voter == to.0));
        let member = member.ok_or(TransferError::NotVoter)?;
        let not_ready = |why: String| Err(TransferError::NotReady(why));
        match self.links.link(to.0, member).readiness().await {
            Err(error) => return not_ready(error.to_string()),
            Ok((false, _)) => {
                return not_ready("it was started a moment ago, does not follow, or its disk is full".into());
            }
            Ok((true, theirs)) => {
                let ours = self.log.with_entries(|entries| entries.last());
                let next = |id: Option<LogId>| id.map_or(0, |id| id.index + 1);
                if next(theirs) + TRANSFER_LAG < next(ours) {
                    return not_ready(format!("its log ends {} entries earlier", next(ours) - next(theirs)));
                }
            }
        }
        let term = self.leader().term;
        let is_first = self.successor.replace(Some((term, to))).is_none_or(|(earlier, _)| earlier != term);
        self.timer.resign(term);
        self.raft.trigger().transfer_leader(to.0).await.map_err(|_| TransferError::NotLeader)?;
        if is_first {
            let (raft, leader) = (self.raft.clone(), self.server.clone());
            E::spawn(repeat_resignation::<E>(
                raft,
                leader,
                term,
                self.successor.clone(),
                self.links.timing.election_max,
            ));
        }
        Ok(())
    }
}

/// Repeats that the leader of `term` resigned, and the successor that it appointed last, until another replica leads:
/// replicas that missed the message still believe in the old leader.
async fn repeat_resignation<E: Env>(
    raft: Raft<E>,
    server: ServerMetrics<E>,
    term: u64,
    successor: Rc<Cell<Option<(u64, ReplicaId)>>>,
    every: Duration,
) {
    loop {
        E::sleep(every).await;
        let leader = leader_of(&server.borrow_watched());
        let Some((_, to)) = successor.get().filter(|_| leader.leading && leader.term == term) else { return };
        if raft.trigger().transfer_leader(to.0).await.is_err() {
            return;
        }
    }
}

pub(super) fn leader_of<E: Env>(metrics: &RaftServerMetrics<Types<E>>) -> Leader {
    let member = metrics.current_leader.and_then(|leader| metrics.membership_config.get_node(&leader).copied());
    Leader {
        term: metrics.vote.leader_id.term,
        replica: metrics.current_leader.map(ReplicaId),
        incarnation: member.map(|member| member.incarnation),
        leading: metrics.state == ServerState::Leader && metrics.current_leader == Some(metrics.id),
    }
}
