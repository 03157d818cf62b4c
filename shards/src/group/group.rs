//! The group as the shard sees it, and which way a request takes.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::meta::ReplicaStatus;
use kahuna_protocol::request::Class;
use kahuna_protocol::{ErrorCode, ErrorReply, GroupId, Incarnation, NodeId, Outcome, ReadLevel, ReplicaId, Request};

use super::context::GroupContext;
use super::deadlines::{Timer, Waits, arm};
use super::forward::{Again, Forward};
use super::proposals::Proposals;
use super::room::Room;
use super::rounds::Rounds;
use super::time::GroupTime;
use crate::env::Env;
use crate::raft::{Leader, Replica};
use crate::request::{Work, retry};

/// One group of this shard: its replica, and every request that waits for it.
///
/// Made by the node once the replica is open, kept in [`Groups`](super::Groups), ended by [`Group::stop`]. Of the shard's
/// thread only.
pub struct Group<E: Env> {
    pub(super) id: GroupId,
    pub(super) replica: Rc<Replica<E>>,
    pub(super) cx: GroupContext<E>,
    pub(super) time: GroupTime<E>,
    pub(super) proposals: Proposals,
    pub(super) rounds: Rounds,
    /// Wait for a leader.
    pub(super) parked: RefCell<Vec<Work>>,
    timer: Timer,
    pub(super) stopped: Cell<bool>,
}

impl<E: Env> Group<E> {
    /// The door to `replica`, the replica of `id` on this shard.
    pub fn new(id: GroupId, replica: Rc<Replica<E>>, cx: GroupContext<E>) -> Rc<Self> {
        let group = Rc::new(Self {
            id,
            time: GroupTime::new(cx.clock.clone(), replica.clone()),
            replica,
            proposals: Proposals::new(cx.config.segment_bytes),
            cx,
            rounds: Rounds::new(),
            parked: RefCell::default(),
            timer: Timer::new(),
            stopped: Cell::new(false),
        });
        E::spawn(group.clone().watch_leadership());
        group
    }

    /// Id of the group, the same on all nodes.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// Its replica on this shard.
    pub fn replica(&self) -> &Rc<Replica<E>> {
        &self.replica
    }

    /// Takes a request of this group, whoever sent it. It is answered by its deadline.
    pub fn serve(self: &Rc<Self>, work: Work) {
        let call = &work.call;
        if call.remaining(E::boot_clock()).is_none() {
            return work.time_out();
        }
        if self.stopped.get() {
            return work.refuse(ErrorCode::Draining, "the node stops; ask another one");
        }
        if call.class == Class::Read && call.prelude.read == ReadLevel::Stale {
            return self.read_stale(work);
        }
        let leader = self.replica.leader();
        if leader.leading {
            match call.class {
                Class::Read => self.read(work),
                Class::Write | Class::System => self.write(work),
                Class::Node => work.refuse(ErrorCode::BadRequest, "no group answers questions about the node"),
            }
            return;
        }
        if work.call.is_leaders_own() {
            return work.refuse(ErrorCode::NotLeader, format!("group {} is led by another node now", self.id));
        }
        let elsewhere = leader.replica.filter(|&replica| replica != self.replica.id()).zip(leader.incarnation);
        match elsewhere {
            _ if work.call.forwarded => {
                let node = elsewhere.and_then(|(_, incarnation)| self.cx.peers.node_of(incarnation));
                let text = format!("group {} is not led here, and a request is forwarded once", self.id);
                let error = ErrorReply::new(ErrorCode::NotLeader, text);
                work.answer(ErrorReply { leader: node.unwrap_or(NodeId(0)), ..error });
            }
            Some((replica, incarnation)) => self.forward(work, incarnation, replica),
            None => {
                arm::<E>(self, work.call.deadline);
                self.parked.borrow_mut().push(work);
            }
        }
    }

    /// Sends a request to the node `to`, where `replica` is thought to lead. News of a leader end the pause before another
    /// attempt.
    fn forward(self: &Rc<Self>, work: Work, to: Incarnation, replica: ReplicaId) {
        let Some(forward) = Forward::send(&self.cx.peers, work, self.replica.id(), to, replica) else { return };
        let (group, seen) = (self.clone(), self.replica.leader());
        E::spawn(async move {
            let Some(Again { work, leads_not, .. }) = forward.answer().await else { return };
            if leads_not {
                group.replica.timer().doubt(replica);
            }
            E::timeout(retry::pause(work.call.attempts), group.replica.leader_changed(&seen)).await;
            group.serve(work);
        });
    }

    /// The node of a leader of this group, if it is known.
    pub(super) fn node_of_leader(&self, leader: &Leader) -> Option<NodeId> {
        match leader.incarnation {
            _ if leader.leading => Some(self.cx.config.node),
            Some(incarnation) => self.cx.peers.node_of(incarnation),
            None => None,
        }
    }

    /// The room on the group's disks.
    pub(super) fn room(&self) -> Room<'_, E> {
        Room { group: self.id, replica: &self.replica, cx: &self.cx }
    }

    /// The replica as its node sees it.
    pub fn status(&self) -> ReplicaStatus {
        let node = self.node_of_leader(&self.replica.leader());
        ReplicaStatus { shard: self.cx.shard, leader: node.unwrap_or(NodeId(0)), ..self.replica.status() }
    }

    /// Ends the group's service: what waits is answered, and nothing more is taken.
    pub fn stop(&self) {
        self.stopped.set(true);
        self.cx.clock.notify();
        let mut unproposed = self.parked.take();
        unproposed.extend(self.proposals.take_pending());
        unproposed.extend(self.rounds.take_pending());
        for work in unproposed {
            work.refuse(ErrorCode::Draining, "the node stops; ask another one");
        }
        for work in self.proposals.take_proposed().into_iter().chain(self.rounds.take_begun()) {
            work.give_up("the node stops");
        }
    }

    /// Proposes a command of the system through this group, wherever it is led.
    ///
    /// The outcome is the machine's, or `Error` as for any request; a repeat is the caller's affair.
    pub fn system(self: &Rc<Self>, request: &Request, timeout: Duration) -> impl Future<Output = Outcome> + 'static {
        let (work, answer) = Work::of_system(self.id, request, E::boot_clock() + timeout);
        self.serve(work);
        async move { answer.await.into_outcome() }
    }
}

impl<E: Env> Waits for Group<E> {
    fn timer(&self) -> &Timer {
        &self.timer
    }

    fn end_waits(&self, now: Duration) -> Option<Duration> {
        let late = |work: &Work| work.call.deadline <= now;
        let unproposed: Vec<_> = {
            let mut pending = self.proposals.pending().borrow_mut();
            let (expired, rest): (Vec<_>, Vec<_>) = pending.drain(..).partition(late);
            pending.extend(rest);
            let mut reads = self.rounds.pending().borrow_mut();
            expired.into_iter().chain(reads.extract_if(.., |work| late(work))).collect()
        };
        let unled: Vec<_> = self.parked.borrow_mut().extract_if(.., |work| late(work)).collect();
        let proposals = self.proposals.flights();
        let rounds = self.rounds.flights();

        unproposed.into_iter().for_each(Work::time_out);
        for work in unled {
            let text = format!("group {} had no leader that this node could reach; ask another node", self.id);
            work.refuse(ErrorCode::NoLeader, text);
        }
        for work in proposals.iter().flat_map(|flight| flight.take_expired(now)) {
            work.give_up("the deadline passed after the request was proposed");
        }
        for work in rounds.iter().flat_map(|flight| flight.take_expired(now)) {
            work.time_out();
        }

        let waiting = self.proposals.pending().borrow().iter().map(|work| work.call.deadline).min();
        let reading = self.rounds.pending().borrow().iter().map(|work| work.call.deadline).min();
        let parked = self.parked.borrow().iter().map(|work| work.call.deadline).min();
        let flying = proposals.iter().chain(&rounds).filter_map(|flight| flight.earliest()).min();
        [waiting, reading, parked, flying].into_iter().flatten().min()
    }
}
