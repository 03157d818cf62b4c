//! The election timer of a replica. It runs while the replica believes in no leader and no failover of its shard schedules
//! the replica's campaigns.
//!
//! openraft's own timer is off: it wakes every ten milliseconds, and counts from the leader's last message, which may be
//! hours old. This one draws an election timeout, campaigns at the pace of its shard, and waits longer each time that its
//! pre-vote changes nothing, until something happens.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::{Incarnation, ReplicaId};
use openraft::async_runtime::AsyncRuntime as _;
use openraft::rt::WatchReceiver as _;

use super::belief::{Belief, Heard};
use super::boot_gate::BootGate;
use super::campaigns::Campaigns;
use super::leadership::{Leader, leader_of};
use super::link::ReplicaLinks;
use super::state_machine::Raft;
use super::types::{Member, ServerMetrics};
use crate::config::Timing;
use crate::env::Env;
use crate::env::local::Signal;

/// A campaign that changes nothing doubles the time to the next one, so often.
const MOST_DOUBLINGS: u32 = 2;

/// When one replica campaigns by itself, and whom it keeps from becoming the leader.
pub struct ElectionTimer<E: Env> {
    raft: Raft<E>,
    server: ServerMetrics<E>,
    links: ReplicaLinks<E>,
    gate: BootGate,
    campaigns: Rc<Campaigns<E>>,
    heard: Cell<Option<Heard>>,
    resigned: Cell<Option<u64>>,
    /// How many hold the timer.
    holders: Cell<u32>,
    /// Before this instant the replica does not campaign, as time since boot.
    patient_until: Cell<Duration>,
    runs: Cell<bool>,
    /// Something happened that may let a campaign succeed, or makes it needless.
    disturbed: Signal,
    /// A question to the leader is under way, or was a moment ago.
    asks: Cell<bool>,
    /// The replica was shut down.
    stopped: Cell<bool>,
}

impl<E: Env> ElectionTimer<E> {
    /// One that stands still until the first [`review`](Self::review).
    pub fn new(raft: Raft<E>, links: ReplicaLinks<E>, gate: BootGate, campaigns: Rc<Campaigns<E>>) -> Rc<Self> {
        let server = raft.server_metrics();
        Rc::new(Self {
            raft,
            server,
            links,
            gate,
            campaigns,
            heard: Cell::new(None),
            resigned: Cell::new(None),
            holders: Cell::new(0),
            patient_until: Cell::new(Duration::ZERO),
            runs: Cell::new(false),
            disturbed: Signal::default(),
            asks: Cell::new(false),
            stopped: Cell::new(false),
        })
    }

    /// Sees to it that the group gets a leader after a start: its voters campaign one after the other, the first of those
    /// that are up as soon as its gate is open. The timer is left for what comes then.
    pub async fn start(self: Rc<Self>) {
        self.hold();
        while self.gate.is_closed::<E>() {
            E::sleep(self.gate.left::<E>()).await;
        }
        E::sleep(self.links.timing.election_max * self.live_voters_before()).await;
        if self.is_voter() {
            self.campaign().await;
        }
        self.let_go();
    }

    /// Campaigns as soon as the shard's other campaigns let it, unless it believes in a leader by then.
    pub async fn campaign(&self) {
        self.campaigns.admit().await;
        if !self.believes() {
            self.elect().await;
        }
    }

    /// Campaigns now, with a pre-vote, unless it leads or the boot gate holds.
    pub async fn elect(&self) {
        if !self.gate.is_closed::<E>() {
            // Behind a closed gate its own vote would be the first that forgets the lease. A replica that was shut down does
            // not campaign.
            drop(self.raft.trigger().elect(true).await);
        }
    }

    /// Reviews the timer at every change of term, leader or membership, until the replica is shut down.
    pub async fn follow_changes(self: Rc<Self>) {
        let mut server = self.server.clone();
        while server.changed().await.is_ok() {
            drop(server.borrow_and_update());
            self.review();
        }
        self.stopped.set(true);
        self.disturbed.notify();
    }

    /// Whether the replica believes in a leader.
    pub fn believes(&self) -> bool {
        self.belief().holds()
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
            self.patient_until.set(E::boot_clock() + self.links.timing.election_max);
            self.review();
        }
    }

    /// `leader` was shown not to lead: this replica does not believe in it until another message of it arrives.
    pub fn doubt(self: &Rc<Self>, leader: ReplicaId) {
        if self.belief().leader.replica == Some(leader) {
            self.heard.set(None);
            self.review();
        }
    }

    /// Holds the timer, while a failover of the shard schedules the replica's campaigns.
    pub fn hold(&self) {
        self.holders.set(self.holders.get() + 1);
    }

    /// Ends what [`hold`](Self::hold) began.
    pub fn let_go(self: &Rc<Self>) {
        self.holders.set(self.holders.get() - 1);
        self.review();
    }

    /// Whether a pre-vote is refused before openraft sees it: the replica believes in a leader other than the candidate.
    /// The replica then asks the leader whether it leads, and stops believing in it unless it confirms.
    pub fn refuses_pre_vote(self: &Rc<Self>, candidate: ReplicaId) -> bool {
        let belief = self.belief();
        if belief.leader.leading {
            return self.leads(belief.leader.term);
        }
        let refuses = belief.holds() && belief.leader.replica != Some(candidate);
        if refuses && !self.asks.replace(true) {
            E::spawn(self.clone().ask_leader(belief.leader));
        }
        refuses
    }

    /// Whether this replica leads in `term`, has not resigned, and reaches a majority.
    pub fn leads(&self, term: u64) -> bool {
        let belief = self.belief();
        let leads = belief.leader.leading && belief.leader.term == term;
        leads && !belief.has_resigned() && self.reaches_majority()
    }

    /// Starts the timer if it should run, and has it look again if it does.
    pub fn review(self: &Rc<Self>) {
        self.disturbed.notify();
        if self.should_run() && !self.runs.replace(true) {
            E::spawn(self.clone().run());
        }
    }

    fn should_run(&self) -> bool {
        let belief = self.belief();
        let may_campaign = !belief.leader.leading && self.is_voter() && !self.gate.is_closed::<E>();
        may_campaign && !belief.holds() && self.holders.get() == 0 && !self.stopped.get()
    }

    async fn run(self: Rc<Self>) {
        let mut doublings = 0;
        loop {
            self.wait(self.draw() * 2_u32.pow(doublings)).await;
            if !self.should_run() {
                self.runs.set(false);
                return;
            }
            let term = self.belief().leader.term;
            self.campaign().await;
            E::sleep(self.links.timing.heartbeat).await;
            let changed = self.belief().leader.term != term;
            doublings = if changed { 0 } else { MOST_DOUBLINGS.min(doublings + 1) };
        }
    }

    /// Waits for `time`; for no more than a fresh timeout from a disturbance on, and no longer than the timer should run.
    async fn wait(&self, time: Duration) {
        let mut until = E::boot_clock() + time;
        loop {
            let left = until.max(self.patient_until.get()).saturating_sub(E::boot_clock());
            if left.is_zero() || !self.should_run() {
                return;
            }
            if E::timeout(left, self.disturbed.wait()).await.is_some() {
                until = until.min(E::boot_clock() + self.draw());
            }
        }
    }

    /// Asks the leader that this replica believes in whether it leads.
    async fn ask_leader(self: Rc<Self>, leader: Leader) {
        let Leader { term, replica: Some(replica), incarnation: Some(incarnation), .. } = leader else {
            unreachable!("who is believed in is known")
        };
        let link = self.links.link(replica.0, &Member { incarnation });
        if !matches!(link.leads(term).await, Ok(true)) {
            self.doubt(replica);
        }
        E::sleep(self.links.timing.election_max).await;
        self.asks.set(false);
    }

    /// Draws an election timeout between the configured bounds.
    fn draw(&self) -> Duration {
        let Timing { election_min, election_max, .. } = self.links.timing;
        let span = u64::try_from((election_max - election_min).as_micros()).unwrap_or(u64::MAX).max(1);
        let drawn = rand::Rng::next_u64(&mut E::Runtime::thread_rng()) % span;
        election_min + Duration::from_micros(drawn)
    }

    fn belief(&self) -> Belief {
        let ReplicaLinks { peers, group, .. } = &self.links;
        let server = self.server.borrow_watched();
        let leader = leader_of(&server);
        let votes = |id: ReplicaId| server.membership_config.voter_ids().any(|voter| voter == id.0);
        Belief {
            own: self.links.from,
            leader,
            votes: leader.replica.is_some_and(votes),
            heard: self.heard.get(),
            pulsing: leader.incarnation.and_then(|incarnation| peers.heard_boot_of(incarnation, *group)),
            resigned: self.resigned.get(),
        }
    }

    /// How many voters that are up come before this one: ids are minted in the order of placement.
    fn live_voters_before(&self) -> u32 {
        let stored = self.server.borrow_watched().membership_config.clone();
        let before = stored.voter_ids().take_while(|voter| *voter != self.links.from.0);
        let is_live = |voter: &u64| {
            stored.get_node(voter).is_some_and(|member| self.links.peers.is_reachable(member.incarnation))
        };
        u32::try_from(before.filter(is_live).count()).unwrap_or(u32::MAX)
    }

    /// Whether it may be elected, as openraft judges it.
    fn is_voter(&self) -> bool {
        let (server, own) = (self.server.borrow_watched(), self.links.from.0);
        let memberships = [&server.membership_config, &server.committed_membership_config];
        memberships.iter().any(|membership| membership.voter_ids().any(|voter| voter == own))
    }

    /// Whether of each configuration in force a majority can be reached, this replica included.
    fn reaches_majority(&self) -> bool {
        let ReplicaLinks { peers, group, from, .. } = &self.links;
        let stored = self.server.borrow_watched().membership_config.clone();
        let membership = stored.membership();
        let reaches = |incarnation: Incarnation| peers.boot_of(incarnation, *group).is_some();
        let is_reached =
            |id: &&u64| **id == from.0 || membership.get_node(id).is_some_and(|member| reaches(member.incarnation));
        membership.get_joint_config().iter().all(|voters| voters.iter().filter(is_reached).count() > voters.len() / 2)
    }
}
