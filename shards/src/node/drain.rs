//! The end of a shard, and where its leaderships go.

use std::rc::Rc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use kahuna_protocol::{Incarnation, ReplicaId};
use kahuna_wal::Space;

use super::runner::Runner;
use crate::env::Env;
use crate::group::Group;

/// How long a stop waits for leaderships to move and for requests in flight.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// How long it waits for one of them.
const TRANSFER_LIMIT: Duration = Duration::from_secs(1);
/// How many leaderships move at once.
const TRANSFERS: usize = 32;
/// Between two looks for groups that another node should lead.
const PREFER_EVERY: Duration = Duration::from_millis(500);
/// A returned node takes its leaderships back only after it was up for this long.
const SETTLED: Duration = Duration::from_secs(2);

impl<E: Env> Runner<E> {
    /// Hands leaderships over, answers what is in flight, and closes the log.
    pub(super) async fn drain(&self) {
        let groups: Vec<Rc<Group<E>>> = self.shard.groups().all();
        let handed_over = async {
            self.give_away(&groups).await;
            self.shard.load().drained().await;
        };
        if E::timeout(DRAIN_LIMIT, handed_over).await.is_none() {
            crate::say!("shard {}: stops with requests in flight after {DRAIN_LIMIT:?}", self.shard.id());
        }
        // A replica may wait for a record that finds no room: its end would wait as well.
        let exhausted = self.shard.space() == Some(Space::Exhausted);
        if exhausted {
            self.close_log().await;
        }
        for group in &groups {
            group.stop();
            group.replica().shutdown().await;
        }
        if !exhausted {
            self.close_log().await;
        }
        self.shard.peers().close();
    }

    /// Gives groups back to the nodes that they are placed on first, one at a time; and all of them away while this node
    /// should lead none.
    pub(super) async fn prefer_leaders(self: Rc<Self>) {
        while !self.stopping.get() {
            E::sleep(PREFER_EVERY).await;
            let groups: Vec<Rc<Group<E>>> = self.shard.groups().all();
            if self.should_not_lead() {
                self.give_away(&groups).await;
                continue;
            }
            for group in &groups {
                let preferred = self.placed_first(group);
                let settled = |incarnation| {
                    let node = self.shard.peers().node_of(incarnation);
                    let since = node.and_then(|node| self.shard.view().alive_since(node));
                    Some(incarnation) == preferred && since.is_some_and(|since| since + SETTLED < E::boot_clock())
                };
                // One that cannot go now keeps no other one.
                if self.hand_over(group, settled).await {
                    break;
                }
            }
        }
    }

    /// Whether the groups of this shard are better led by any other node: its disk is full.
    fn should_not_lead(&self) -> bool {
        self.shard.space().is_some_and(|space| space != Space::Plenty)
    }

    /// Hands over every group that another node takes, many at once; the others stay.
    async fn give_away(&self, groups: &[Rc<Group<E>>]) {
        let hand_over = async |group: &Rc<Group<E>>| {
            self.hand_over(group, |_| true).await;
        };
        stream::iter(groups).for_each_concurrent(TRANSFERS, hand_over).await;
    }

    /// Hands a group over that this node leads, to the first successor that fits and takes it; whether one did.
    async fn hand_over(&self, group: &Rc<Group<E>>, fits: impl Fn(Incarnation) -> bool) -> bool {
        for to in self.successors(group, fits) {
            if group.replica().transfer_to(to).await.is_err() {
                continue;
            }
            // A successor that dies now must not keep the group.
            E::timeout(TRANSFER_LIMIT, led_elsewhere(group)).await;
            if !group.replica().leader().leading {
                return true;
            }
        }
        false
    }

    /// Where a group is placed first: there it shall be led.
    fn placed_first(&self, group: &Group<E>) -> Option<Incarnation> {
        let meta = self.meta.borrow();
        let first = meta.as_ref()?.placement(group.id().0)?.replicas.first()?;
        Some(Incarnation(first.incarnation))
    }

    /// The other live voters of a group that this node leads. Whether one is caught up the transfer itself finds out.
    fn successors(&self, group: &Group<E>, fits: impl Fn(Incarnation) -> bool) -> Vec<ReplicaId> {
        let replica = group.replica();
        if !replica.leader().leading {
            return Vec::new();
        }
        let alive = self.shard.view().alive();
        let others = replica.voters().into_iter().filter(|(id, _)| *id != replica.id());
        let fit = others.filter(|(_, incarnation)| {
            let node = self.shard.peers().node_of(*incarnation);
            node.is_some_and(|node| alive.contains(&node)) && fits(*incarnation)
        });
        fit.map(|(id, _)| id).collect()
    }
}

/// Returns once another replica leads, or this one was shut down. Until then the successor may need this one's vote.
async fn led_elsewhere<E: Env>(group: &Group<E>) {
    let replica = group.replica();
    let mut seen = replica.leader();
    while seen.leading || seen.replica.is_none() {
        replica.leader_changed(&seen).await;
        let now = replica.leader();
        if now == seen {
            return;
        }
        seen = now;
    }
}
