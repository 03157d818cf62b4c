//! The group as the shard sees it, and which way a request takes.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::meta::ReplicaStatus;
use kahuna_protocol::request::Class;
use kahuna_protocol::{ErrorCode, ErrorReply, GroupId, Outcome, ReadLevel, Request, RequestPrelude};

use super::proposals::Proposals;
use super::reads::Rounds;
use super::time::GroupTime;
use crate::clock::Clock;
use crate::env::Env;
use crate::env::local::LocalOneshot;
use crate::raft::Replica;
use crate::serve::{Answer, Call, Reply, Work, is_leaders_own};
use crate::shard::Shard;

/// One group of this shard: its replica, and every request that waits for it.
///
/// Made by the node once the replica is open, kept in [`Shard::groups`](Shard), ended by [`Group::stop`]. Of the shard's
/// thread only.
pub struct Group<E: Env> {
    pub(super) id: GroupId,
    pub(super) replica: Rc<Replica<E>>,
    pub(super) shard: Weak<Shard<E>>,
    pub(super) clock: Rc<Clock<E>>,
    pub(super) time: GroupTime,
    pub(super) proposals: Proposals<E>,
    pub(super) rounds: Rounds<E>,
    /// Wait for a leader.
    pub(super) parked: RefCell<Vec<Work<E>>>,
    /// The deadline that the timer sleeps for; `Duration::MAX` when nothing waits.
    pub(super) armed: Cell<Duration>,
    pub(super) stopped: Cell<bool>,
}

impl<E: Env> Group<E> {
    /// The door to `replica`, the replica of `id` on this shard.
    pub fn new(id: GroupId, replica: Rc<Replica<E>>, shard: &Rc<Shard<E>>) -> Rc<Self> {
        let group = Rc::new(Self {
            id,
            replica,
            shard: Rc::downgrade(shard),
            clock: shard.clock.clone(),
            time: GroupTime::default(),
            proposals: Proposals::new(shard.config.segment_bytes),
            rounds: Rounds::new(),
            parked: RefCell::default(),
            armed: Cell::new(Duration::MAX),
            stopped: Cell::new(false),
        });
        E::spawn(group.clone().watch_leadership());
        group
    }

    /// The group.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// Its replica on this shard.
    pub fn replica(&self) -> &Rc<Replica<E>> {
        &self.replica
    }

    /// Takes a request of this group, whoever sent it. It is answered by its deadline.
    pub fn serve(self: &Rc<Self>, work: Work<E>) {
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
        let elsewhere = leader.replica.filter(|&replica| replica != self.replica.id()).zip(leader.incarnation);
        match (elsewhere, self.shard.upgrade()) {
            (_, None) => work.refuse(ErrorCode::Draining, "the node stops; ask another one"),
            _ if is_leaders_own(&work.call) => {
                work.refuse(ErrorCode::NotLeader, format!("group {} is led by another node now", self.id));
            }
            (leader, Some(shard)) if work.call.forwarded => {
                let node = leader.and_then(|(_, incarnation)| shard.peers.node_of(incarnation));
                let text = format!("group {} is not led here, and a request is forwarded once", self.id);
                let error = ErrorReply::new(ErrorCode::NotLeader, text);
                work.answer(ErrorReply { leader: node.map_or(0, |node| node.0), ..error });
            }
            (Some((to, incarnation)), Some(shard)) => shard.forward(work, incarnation, to, Some(self)),
            (None, Some(_)) => {
                self.arm(work.call.deadline);
                self.parked.borrow_mut().push(work);
            }
        }
    }

    /// The replica as its node sees it.
    pub fn status(&self, shard: &Shard<E>) -> ReplicaStatus {
        let leader = self.replica.leader();
        let node = match leader.incarnation {
            _ if leader.leading => Some(shard.config.node),
            Some(incarnation) => shard.peers.node_of(incarnation),
            None => None,
        };
        ReplicaStatus { shard: shard.id.0, leader: node.map_or(0, |node| node.0), ..self.replica.status() }
    }

    /// Ends the group's service: what waits is answered, and nothing more is taken.
    pub fn stop(&self) {
        self.stopped.set(true);
        self.clock.notify();
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
        let (reply, answer) = LocalOneshot::pair();
        let call = system_call::<E>(self.id, request, timeout);
        self.serve(Work { call, reply: Reply::to_task(reply) });
        async move { outcome_of(answer.await.ok()) }
    }
}

/// A command of the system as a call.
pub(crate) fn system_call<E: Env>(group: GroupId, request: &Request, timeout: Duration) -> Call {
    let mut body = Vec::new();
    request.encode_body(&mut body);
    Call {
        group,
        kind: request.kind(),
        class: Class::System,
        needs_room: false,
        // In no session: no clock judges whether it comes too late.
        prelude: RequestPrelude::default(),
        body: Bytes::from(body),
        deadline: E::boot_clock() + timeout,
        forwarded: false,
        repeated: false,
        attempts: 0,
    }
}

/// An answer in owned form.
pub(crate) fn outcome_of(answer: Option<Answer>) -> Outcome {
    match answer {
        Some(Answer::Outcome(outcome)) => outcome,
        Some(Answer::Encoded { kind, body }) => Outcome::decode(kind, &body).unwrap_or_else(|error| {
            Outcome::Error(ErrorReply::new(ErrorCode::Unknown, format!("the other node's answer: {error}")))
        }),
        None => Outcome::Error(ErrorReply::new(ErrorCode::Unknown, "the request was dropped")),
    }
}
