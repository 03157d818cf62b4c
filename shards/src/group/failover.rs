//! What a shard does when a node dies: elect other leaders for the groups that it led, as early as Raft allows.
//!
//! ```text
//!   last heard of it                 lease over
//!   ├──────── election_max ──────────┤ turn 0 campaigns ─ step ─ turn 1 ─ step ─ turn 2, then turn 0 again, ...
//! ```
//! Left to itself, openraft waits for a drawn timeout on top of the lease. Here the followers that live take turns, a
//! different one first in every group, so that neither the campaigns of one group nor those of many collide. Every
//! campaign begins with a pre-vote: one that is too early, or not needed any more, changes nothing.

use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::{GroupId, Incarnation, ReplicaId};

use crate::config::Timing;
use crate::env::Env;
use crate::peer::{NodeEvent, Peers};
use crate::raft::{Leader, Replica};

/// The lease of the other followers may have begun a little later than ours.
const LEASE_MARGIN: Duration = Duration::from_millis(1);
/// The shortest time between two turns: a pre-vote, a vote and its flush should fit in.
const MIN_STEP: Duration = Duration::from_millis(20);
/// Turns that are taken before openraft's own timers are left to it.
const TURNS: usize = 12;
/// Longer sleeps are rounded up by the shard's timer queue; the last stretch is slept in pieces below that.
const FINE: Duration = Duration::from_millis(4);

/// Reacts to the deaths and returns of nodes, on one shard.
pub struct Failover<E: Env> {
    peers: Rc<Peers<E>>,
    timing: Timing,
}

/// Groups whose leader is gone: its node died, or its shard there stands still.
struct TakeOver<E: Env> {
    peers: Rc<Peers<E>>,
    timing: Timing,
    /// Where they were led.
    gone: Incarnation,
    /// The boot under which they were. Under another one its old leaderships are gone in any case.
    boot: Option<u64>,
    /// When the last lease is over that one of them may have granted.
    begin: Duration,
    /// With what each knew of its leader when it last looked.
    groups: Vec<(Rc<Replica<E>>, Leader)>,
}

impl<E: Env> Failover<E> {
    /// For the groups of the shard that `peers` belongs to.
    pub fn new(peers: Rc<Peers<E>>, timing: Timing) -> Self {
        Self { peers, timing }
    }

    /// Takes note of what happened to a node; `replicas` are all that the shard has. Every shard is told every event.
    pub fn on_event(&self, event: NodeEvent, replicas: Vec<Rc<Replica<E>>>) {
        match event {
            NodeEvent::Up { incarnation, .. } => {
                self.peers.on_node_event(&event);
                replicas.iter().for_each(|replica| replica.peer_up(incarnation));
            }
            NodeEvent::Down { node, incarnation } => {
                let boot = self.peers.boot_that_is_up(node);
                let heard = self.peers.last_heard(node);
                self.peers.on_node_event(&event);
                let heard = if heard.is_zero() { E::boot_clock() } else { heard };
                self.take_over((incarnation, boot), heard, &replicas, |_| true);
            }
            NodeEvent::Stalled { node, incarnation, shard } => {
                self.peers.on_node_event(&event);
                let boot = self.peers.boot_that_is_up(node);
                let is_there = |group| self.peers.shard_of(node, group) == Some(shard);
                self.take_over((incarnation, boot), E::boot_clock(), &replicas, is_there);
            }
            NodeEvent::Resumed { .. } => self.peers.on_node_event(&event),
        }
        replicas.iter().for_each(|replica| replica.timer().review());
    }

    /// Elects other leaders for those of `replicas` whose leader lived in the data directory `gone` and was `heard` last then.
    fn take_over(
        &self,
        (gone, boot): (Incarnation, Option<u64>),
        heard: Duration,
        replicas: &[Rc<Replica<E>>],
        is_there: impl Fn(GroupId) -> bool,
    ) {
        let led = replicas
            .iter()
            .filter(|replica| is_there(replica.group()))
            .map(|replica| (replica.clone(), replica.leader()));
        let groups: Vec<_> = led.filter(|(_, leader)| leader.incarnation == Some(gone)).collect();
        if groups.is_empty() {
            return;
        }
        groups.iter().for_each(|(replica, _)| replica.timer().hold());
        let begin = heard + self.timing.election_max + LEASE_MARGIN;
        let take_over = TakeOver { peers: self.peers.clone(), timing: self.timing, gone, boot, begin, groups };
        E::spawn(take_over.run());
    }
}

impl<E: Env> TakeOver<E> {
    async fn run(mut self) {
        sleep_until::<E>(self.begin).await;
        let step = MIN_STEP.max(self.timing.heartbeat / 2);
        for round in 0..TURNS {
            self.drop_led();
            if self.groups.is_empty() {
                return;
            }
            for (replica, seen) in &mut self.groups {
                let now = replica.leader();
                // A term that moved on since the last round is an election under way: it gets its time.
                let resting = now.term == std::mem::replace(seen, now).term;
                if resting && is_turn(round, replica.group(), &live(&self.peers, replica), replica.id()) {
                    replica.campaign().await;
                }
            }
            E::sleep(step).await;
        }
        self.groups.drain(..).for_each(|(replica, _)| replica.timer().let_go());
    }

    /// Lets those go that are led, or whose leader is back: it was silent, not dead.
    fn drop_led(&mut self) {
        let (peers, gone, boot) = (&self.peers, self.gone, self.boot);
        self.groups.retain(|(replica, _)| {
            let has_returned = boot.is_some() && peers.boot_of(gone, replica.group()) == boot;
            let stays = !has_returned && is_unled(&replica.leader(), gone);
            if !stays {
                replica.timer().let_go();
            }
            stays
        });
    }
}

/// Whether nobody is known to lead but the dead one.
fn is_unled(leader: &Leader, dead: Incarnation) -> bool {
    !leader.leading && leader.incarnation.is_none_or(|incarnation| incarnation == dead)
}

/// The voters of a replica's group whose nodes are up, itself included, ascending.
fn live<E: Env>(peers: &Peers<E>, replica: &Replica<E>) -> Vec<ReplicaId> {
    let is_live = |id: ReplicaId, incarnation: Incarnation| {
        id == replica.id() || peers.boot_of(incarnation, replica.group()).is_some()
    };
    let mut live: Vec<ReplicaId> =
        replica.voters().into_iter().filter(|(id, at)| is_live(*id, *at)).map(|(id, _)| id).collect();
    live.sort_unstable();
    live
}

/// Whether `own` campaigns in this round: one of the live voters does, and another one is first in the next group.
fn is_turn(round: usize, group: GroupId, live: &[ReplicaId], own: ReplicaId) -> bool {
    !live.is_empty() && live[(round + group.0 as usize) % live.len()] == own
}

/// Sleeps until an instant of [`Env::boot_clock`], to about a millisecond.
async fn sleep_until<E: Env>(instant: Duration) {
    loop {
        let left = instant.saturating_sub(E::boot_clock());
        if left.is_zero() {
            return;
        }
        // The timer queue may be late by three times `FINE`.
        E::sleep(if left > 4 * FINE { left - 3 * FINE } else { left.min(FINE) }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_each_round_one_live_member_campaigns_and_groups_begin_with_different_ones() {
        let live = [ReplicaId(11), ReplicaId(12), ReplicaId(13)];
        for group in (0..9).map(GroupId) {
            for round in 0..TURNS {
                let turns = live.iter().filter(|own| is_turn(round, group, &live, **own)).count();
                assert_eq!(turns, 1);
            }
            let first = live.iter().position(|own| is_turn(0, group, &live, *own));
            assert_eq!(first, Some(group.0 as usize % 3));
            assert!(live.iter().all(|own| (0..3).any(|round| is_turn(round, group, &live, *own))));
        }
        assert!(!is_turn(0, GroupId(0), &[], ReplicaId(1)));
    }

    #[test]
    fn a_group_is_unled_until_somebody_else_is_known_to_lead() {
        let dead = Incarnation(7);
        let leader = |incarnation, leading| Leader { term: 3, replica: None, incarnation, leading };
        assert!(is_unled(&leader(Some(dead), false), dead));
        assert!(is_unled(&leader(None, false), dead));
        assert!(!is_unled(&leader(Some(Incarnation(8)), false), dead));
        assert!(!is_unled(&leader(Some(Incarnation(8)), true), dead));
    }
}
