//! Where the leaderships of a shard go: to the nodes placed first, and away from a node that stops or has no room.

use std::rc::Rc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use kahuna_machine::Meta;
use kahuna_protocol::{GroupId, Incarnation, ReplicaId};
use kahuna_wal::Space;

use super::context::NodeContext;
use crate::env::Env;
use crate::group::Group;

/// How long a transfer of one leadership may take.
const TRANSFER_LIMIT: Duration = Duration::from_secs(1);
/// How many leaderships move at once.
const TRANSFERS: usize = 32;
/// Between two looks for groups that another node should lead.
const PREFER_EVERY: Duration = Duration::from_millis(500);
/// A returned node takes its leaderships back only after it was up for this long.
const SETTLED: Duration = Duration::from_secs(2);

/// Gives groups back to the nodes that they are placed on first, one at a time; and all of them away while this node
/// should lead none.
pub async fn prefer_leaders<E: Env>(cx: Rc<NodeContext<E>>) {
    while !cx.is_stopping() {
        E::sleep(PREFER_EVERY).await;
        let groups: Vec<Rc<Group<E>>> = cx.shard.groups().all();
        if should_not_lead(&cx) {
            give_away(&cx, &groups).await;
            continue;
        }
        let Some(meta) = cx.meta() else { continue };
        for group in &groups {
            let preferred = placed_first(&meta, group.id());
            if !group.replica().leader().leading || preferred == Some(cx.shard.incarnation()) {
                continue;
            }
            let settled = |incarnation| {
                let node = cx.shard.peers().node_of(incarnation);
                let since = node.and_then(|node| cx.shard.view().alive_since(node));
                Some(incarnation) == preferred && since.is_some_and(|since| since + SETTLED < E::boot_clock())
            };
            // One that cannot go now keeps no other one.
            if hand_over(&cx, group, settled).await {
                break;
            }
        }
    }
}

/// Whether the groups of this shard are better led by any other node: its disk is full.
fn should_not_lead<E: Env>(cx: &NodeContext<E>) -> bool {
    cx.shard.space().is_some_and(|space| space != Space::Plenty)
}

/// Hands over every group that another node takes, many at once; the others stay.
pub async fn give_away<E: Env>(cx: &NodeContext<E>, groups: &[Rc<Group<E>>]) {
    let to_any = async |group: &Rc<Group<E>>| {
        hand_over(cx, group, |_| true).await;
    };
    stream::iter(groups).for_each_concurrent(TRANSFERS, to_any).await;
}

/// Hands a group over that this node leads, to the first successor that fits and takes it; whether one did.
async fn hand_over<E: Env>(cx: &NodeContext<E>, group: &Rc<Group<E>>, fits: impl Fn(Incarnation) -> bool) -> bool {
    for to in successors(cx, group, fits) {
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
fn placed_first(meta: &Meta, group: GroupId) -> Option<Incarnation> {
    meta.placement(group)?.replicas.first().map(|first| first.incarnation)
}

/// The other live voters of a group that this node leads. The transfer itself checks whether a voter is caught up.
fn successors<E: Env>(cx: &NodeContext<E>, group: &Group<E>, fits: impl Fn(Incarnation) -> bool) -> Vec<ReplicaId> {
    let replica = group.replica();
    if !replica.leader().leading {
        return Vec::new();
    }
    let alive = cx.shard.view().alive();
    let others = replica.voters().into_iter().filter(|(id, _)| *id != replica.id());
    let fit = others.filter(|(_, incarnation)| {
        let node = cx.shard.peers().node_of(*incarnation);
        node.is_some_and(|node| alive.contains(&node)) && fits(*incarnation)
    });
    fit.map(|(id, _)| id).collect()
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
