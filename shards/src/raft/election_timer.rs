//! The election timer of a replica: openraft's ticks. It runs while the replica believes in no leader, and stands still else.
//!
//! Who loses its belief is patient for a drawn time first: the others lost theirs at the same moment, and openraft's own
//! timeout counts from the last message, which may be hours old. Who campaigns in its turn holds the timer meanwhile.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::{GroupId, Incarnation, ReplicaId};
use openraft::async_runtime::AsyncRuntime as _;
use openraft::rt::WatchReceiver as _;

use super::belief::{Belief, Heard};
use super::boot_gate::BootGate;
use super::leadership::leader_of;
use super::state_machine::Raft;
use super::types::ServerMetrics;
use crate::config::Timing;
use crate::env::Env;
use crate::peer::Peers;

/// Starts and stops openraft's ticks, for one replica. A leader's stand still as well: what it has to repeat is
/// [`Heartbeats`](super::heartbeats::Heartbeats)' affair.
pub struct ElectionTimer<E: Env> {
    group: GroupId,
    own: ReplicaId,
    raft: Raft<E>,
    server: ServerMetrics<E>,
    peers: Rc<Peers<E>>,
    timing: Timing,
    gate: BootGate,
    heard: Cell<Option<Heard>>,
    resigned: Cell<Option<u64>>,
    /// Whether the replica believed in a leader at the last look.
    believed: Cell<bool>,
    /// How many hold the timer.
    holders: Cell<u32>,
    /// Until when it stands still although the belief is lost, as time since boot.
    patient_until: Cell<Duration>,
    runs: Cell<bool>,
}

impl<E: Env> ElectionTimer<E> {
    /// One that stands still until the first [`review`](Self::review).
    pub fn new(
        (group, own): (GroupId, ReplicaId),
        raft: Raft<E>,
        peers: Rc<Peers<E>>,
        timing: Timing,
        gate: BootGate,
    ) -> Rc<Self> {
        let server = raft.server_metrics();
        Rc::new(Self {
            group,
            own,
            raft,
            server,
            peers,
            timing,
            gate,
            heard: Cell::new(None),
            resigned: Cell::new(None),
            believed: Cell::new(false),
            holders: Cell::new(0),
            patient_until: Cell::new(Duration::ZERO),
            runs: Cell::new(false),
        })
    }

    /// Reviews the timer at every change of term, leader or membership, until the replica is shut down.
    pub async fn run(self: Rc<Self>) {
        let mut server = self.server.clone();
        while server.changed().await.is_ok() {
            drop(server.borrow_and_update());
            self.review();
        }
    }

    /// Whether the replica believes in a leader.
    pub fn believes(&self) -> bool {
        self.belief().holds()
    }

    /// Whether the leader of this term, be it this replica, gave its leadership up.
    pub fn has_resigned(&self) -> bool {
        self.belief().has_resigned()
    }

    /// openraft took a message of the leader of `term`, sent by a node under `boot`.
    pub fn hear(self: &Rc<Self>, term: u64, boot: u64) {
        let heard = Some(Heard { term, boot });
        if self.heard.replace(heard) != heard {
            self.review();
        }
    }

    /// The leader of `term` resigned. Whom it appointed has the longest election timeout for it.
    pub fn resign(self: &Rc<Self>, term: u64) {
        if self.resigned.replace(Some(term)) != Some(term) {
            self.be_patient(self.timing.election_max);
            self.review();
        }
    }

    /// Somebody says that `leader` does not lead: until it is heard of again, this replica does not believe in it.
    pub fn doubt(self: &Rc<Self>, leader: ReplicaId) {
        if self.belief().leader.replica == Some(leader) {
            self.heard.set(None);
            self.review();
        }
    }

    /// Holds the timer, while somebody sees to it that the replica campaigns in its turn.
    pub fn hold(self: &Rc<Self>) {
        self.holders.set(self.holders.get() + 1);
        self.review();
    }

    /// Ends what [`hold`](Self::hold) began.
    pub fn let_go(self: &Rc<Self>) {
        self.holders.set(self.holders.get() - 1);
        self.review();
    }

    /// Whether a pre-vote is refused, whatever openraft would say: there is a leader, and it is not the one that asks. A
    /// leader is one while a majority of its voters can be reached.
    pub fn refuses_pre_vote(&self, candidate: ReplicaId) -> bool {
        let belief = self.belief();
        if belief.leader.leading {
            return !belief.has_resigned() && self.reaches_majority();
        }
        belief.holds() && belief.leader.replica != Some(candidate)
    }

    /// Starts or stops the ticks, by what is known now.
    pub fn review(self: &Rc<Self>) {
        let belief = self.belief();
        let believes = belief.holds();
        if self.believed.replace(believes) && !believes {
            self.be_patient(self.draw());
        }
        let may_campaign = !belief.leader.leading && self.is_voter() && !self.gate.is_closed::<E>();
        let is_patient = E::boot_clock() < self.patient_until.get();
        let runs = may_campaign && !believes && !is_patient && self.holders.get() == 0;
        if self.runs.replace(runs) != runs {
            self.raft.runtime_config().tick(runs);
        }
    }

    fn be_patient(self: &Rc<Self>, time: Duration) {
        let until = E::boot_clock() + time;
        if until <= self.patient_until.get() {
            return;
        }
        self.patient_until.set(until);
        let timer = self.clone();
        E::spawn(async move {
            E::sleep(time).await;
            timer.review();
        });
    }

    /// An election timeout.
    fn draw(&self) -> Duration {
        let Timing { election_min, election_max, .. } = self.timing;
        let span = u64::try_from((election_max - election_min).as_micros()).unwrap_or(u64::MAX).max(1);
        let drawn = rand::Rng::next_u64(&mut E::Runtime::thread_rng()) % span;
        election_min + Duration::from_micros(drawn)
    }

    fn belief(&self) -> Belief {
        let server = self.server.borrow_watched();
        let leader = leader_of(&server);
        let votes = |id: ReplicaId| server.membership_config.voter_ids().any(|voter| voter == id.0);
        Belief {
            own: self.own,
            leader,
            votes: leader.replica.is_some_and(votes),
            heard: self.heard.get(),
            up: leader.incarnation.and_then(|incarnation| self.peers.boot_of(incarnation, self.group)),
            resigned: self.resigned.get(),
        }
    }

    fn is_voter(&self) -> bool {
        self.server.borrow_watched().membership_config.voter_ids().any(|voter| voter == self.own.0)
    }

    fn reaches_majority(&self) -> bool {
        let membership = self.server.borrow_watched().membership_config.clone();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let is_reached = |id: &&u64| {
            let at = |incarnation: Incarnation| self.peers.boot_of(incarnation, self.group).is_some();
            **id == self.own.0 || membership.get_node(id).is_some_and(|member| at(member.incarnation))
        };
        voters.iter().filter(is_reached).count() > voters.len() / 2
    }
}
