//! What a shard does when a node dies: elect other leaders for the groups that it led, as early as Raft allows.
//!
//! ```text
//!   last heard of it                 lease over
//!   ├──────── election_max ──────────┤ round 0 campaigns ─ step ─ round 1 ─ step ─ round 2, then round 0 again, ...
//! ```
//! Left to itself, openraft waits for a drawn timeout on top of the lease. Here the live followers campaign one after the
//! other, a different one first in every group, so that neither the campaigns of one group nor those of many collide. Every
//! campaign begins with a pre-vote: one that is too early, or not needed any more, changes nothing.

use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::{GroupId, Incarnation, NodeId, ReplicaId, ShardId};

use crate::config::Timing;
use crate::env::Env;
use crate::peer::{NodeEvent, Peers};
use crate::raft::{Leader, Replica};

/// The lease of the other followers may have begun a little later than ours.
const LEASE_MARGIN: Duration = Duration::from_millis(1);
/// The shortest time between two campaign rounds: a pre-vote, a vote and its flush should fit in.
const MIN_STEP: Duration = Duration::from_millis(20);
/// Campaign rounds before the election is left to openraft's own timers.
const ROUNDS: usize = 12;
/// Replicas that learn of an event before the shard's other tasks run.
const AT_ONCE: usize = 64;
/// Longer sleeps are rounded up by the shard's timer queue; the last stretch is slept in pieces below that.
const FINE: Duration = Duration::from_millis(4);

/// Reacts to the deaths and returns of nodes, on one shard.
pub struct Failover<E: Env> {
    peers: Rc<Peers<E>>,
    timing: Timing,
}

/// Where leaders were that are gone: their node died, or what it sends does not arrive, or their shard there stands still.
#[derive(Clone, Copy)]
struct Gone {
    incarnation: Incarnation,
    /// The shard, if it is one alone.
    shard: Option<(NodeId, ShardId)>,
    /// The boot under which they led. Under another one its old leaderships are gone in any case.
    boot: u64,
    /// When the last lease is over that one of them may have been granted.
    begin: Duration,
}

/// The groups that were led there.
struct TakeOver<E: Env> {
    peers: Rc<Peers<E>>,
    timing: Timing,
    gone: Gone,
    /// With what each knew of its leader when it last looked.
    groups: Vec<(Rc<Replica<E>>, Leader)>,
}

impl<E: Env> Failover<E> {
    /// For the groups of the shard that `peers` belongs to.
    pub fn new(peers: Rc<Peers<E>>, timing: Timing) -> Self {
        Self { peers, timing }
    }

    /// Takes note of what happened to a node; `replicas` are all that the shard has. Every shard gets every event.
    pub fn on_event(&self, event: NodeEvent, replicas: Vec<Rc<Replica<E>>>) {
        let (peers, timing) = (self.peers.clone(), self.timing);
        let gone = Gone::by(event, &peers, &timing);
        peers.on_node_event(&event);
        E::spawn(async move {
            let mut groups = Vec::new();
            for (at, replica) in replicas.into_iter().enumerate() {
                if at % AT_ONCE == AT_ONCE - 1 {
                    E::yield_now().await;
                }
                if let NodeEvent::Up { incarnation, .. } = event {
                    replica.peer_up(incarnation);
                }
                let leader = replica.leader();
                if gone.is_some_and(|gone| gone.is_place_of(&leader, replica.group(), &peers)) {
                    replica.timer().hold();
                    groups.push((replica.clone(), leader));
                }
                replica.timer().review();
            }
            if let Some(gone) = gone.filter(|_| !groups.is_empty()) {
                TakeOver { peers, timing, gone, groups }.run().await;
            }
        });
    }
}

impl Gone {
    /// The failure that `event` reports about leaders whose messages arrived until now; `None` for other events.
    fn by<E: Env>(event: NodeEvent, peers: &Peers<E>, timing: &Timing) -> Option<Self> {
        let now = E::boot_clock();
        let (incarnation, shard, heard) = match event {
            NodeEvent::Up { .. } | NodeEvent::Heard { .. } | NodeEvent::Resumed { .. } => return None,
            NodeEvent::Down { node, incarnation } => (incarnation, None, peers.last_heard(node)),
            NodeEvent::Unheard { incarnation, .. } => (incarnation, None, now.saturating_sub(timing.silent_after())),
            NodeEvent::Stalled { node, incarnation, shard } => (incarnation, Some((node, shard)), now),
        };
        let begin = heard + timing.election_max + LEASE_MARGIN;
        peers.heard_boot(incarnation).map(|boot| Self { incarnation, shard, boot, begin })
    }

    /// Whether `leader` led `group` there.
    fn is_place_of<E: Env>(&self, leader: &Leader, group: GroupId, peers: &Peers<E>) -> bool {
        let is_on = |(node, shard)| peers.shard_of(node, group) == Some(shard);
        leader.incarnation == Some(self.incarnation) && self.shard.is_none_or(is_on)
    }

    /// Whether the leader of `group` there is back: it was silent, not dead.
    fn has_returned<E: Env>(&self, group: GroupId, peers: &Peers<E>) -> bool {
        peers.heard_boot_of(self.incarnation, group) == Some(self.boot)
    }
}

impl<E: Env> TakeOver<E> {
    async fn run(mut self) {
        sleep_until::<E>(self.gone.begin).await;
        let step = MIN_STEP.max(self.timing.heartbeat / 2);
        for round in 0..ROUNDS {
            self.drop_led();
            if self.groups.is_empty() {
                return;
            }
            for (replica, seen) in &mut self.groups {
                let now = replica.leader();
                // A term that moved on since the last round is an election under way: it gets its time.
                let resting = now.term == std::mem::replace(seen, now).term;
                if resting && campaigns_in(round, replica.group(), &live(&self.peers, replica), replica.id()) {
                    replica.timer().campaign().await;
                }
            }
            E::sleep(step).await;
        }
        self.groups.drain(..).for_each(|(replica, _)| replica.timer().let_go());
    }

    /// Lets those go that are led, or whose leader is back.
    fn drop_led(&mut self) {
        let (peers, gone) = (&self.peers, self.gone);
        self.groups.retain(|(replica, _)| {
            let stays = !gone.has_returned(replica.group(), peers) && is_unled(&replica.leader(), gone.incarnation);
            if !stays {
                replica.timer().let_go();
            }
            stays
        });
    }
}

/// Whether no leader other than the dead node is known.
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
fn campaigns_in(round: usize, group: GroupId, live: &[ReplicaId], own: ReplicaId) -> bool {
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
            for round in 0..ROUNDS {
                let campaigning = live.iter().filter(|own| campaigns_in(round, group, &live, **own)).count();
                assert_eq!(campaigning, 1);
            }
            let first = live.iter().position(|own| campaigns_in(0, group, &live, *own));
            assert_eq!(first, Some(group.0 as usize % 3));
            assert!(live.iter().all(|own| (0..3).any(|round| campaigns_in(round, group, &live, *own))));
        }
        assert!(!campaigns_in(0, GroupId(0), &[], ReplicaId(1)));
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
