//! Do the other nodes reach this one? A node that dials all others and is dialled by none of them looks well from inside, and
//! counts for nothing in any majority: its address is wrong at the others, or something lies between.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::NodeId;

use super::Peers;
use crate::env::Env;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a node may answer without having dialled: it may have started a moment ago, and dials with pauses.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks for nodes that answer this one and do not reach it, until `peers` is closed; prints them and keeps the list in
/// [`Peers::unreached`]. On shard 0 only, where all nodes send their heartbeats.
pub async fn watch_reach<E: Env>(peers: Rc<Peers<E>>) {
    let mut silent = Silent::default();
    while !peers.closed.get() {
        E::sleep(LOOK_EVERY).await;
        let quiet: Vec<NodeId> = peers.alive().into_iter().filter(|node| !peers.accepted.has_link_of(*node)).collect();
        let Some(now) = silent.look(&quiet, E::boot_clock()) else { continue };
        let before = peers.unreached.replace(now.clone());
        for node in now.iter().filter(|node| !before.contains(node)) {
            crate::say!("node {}: {}", peers.local().node, peers.not_reached_by(*node));
        }
        for node in before.iter().filter(|node| !now.contains(node)) {
            crate::say!("node {}: node {node} reaches this node again, or is gone", peers.local().node);
        }
    }
}

impl<E: Env> Peers<E> {
    /// The nodes that answer this one and did not reach it for a while, ascending.
    pub fn unreached(&self) -> Vec<NodeId> {
        self.unreached.borrow().clone()
    }

    /// What that means, for a person.
    pub fn not_reached_by(&self, node: NodeId) -> String {
        let address = &self.local.borrow().peer_address;
        format!(
            "node {node} answers, but does not reach this node, which says that it is at {address}; is that right, and open \
             from there? --peer-advertise sets it"
        )
    }
}

/// Since when which nodes answer and do not dial.
#[derive(Debug, Default)]
struct Silent {
    since: BTreeMap<NodeId, Duration>,
    told: Vec<NodeId>,
}

impl Silent {
    /// Those that have been quiet for too long at `now`, if it is not the list of the last time.
    fn look(&mut self, quiet: &[NodeId], now: Duration) -> Option<Vec<NodeId>> {
        self.since.retain(|node, _| quiet.contains(node));
        for node in quiet {
            self.since.entry(*node).or_insert(now);
        }
        let late = |(node, since): (&NodeId, &Duration)| (now >= *since + PATIENCE).then_some(*node);
        let told: Vec<NodeId> = self.since.iter().filter_map(late).collect();
        (told != self.told).then(|| {
            self.told.clone_from(&told);
            told
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_told_of_once_it_was_quiet_for_long_and_once_it_is_not() {
        let mut silent = Silent::default();
        let at = Duration::from_secs;
        assert_eq!(silent.look(&[NodeId(2), NodeId(3)], at(10)), None);
        assert_eq!(silent.look(&[NodeId(2)], at(14)), None, "node 3 came");
        assert_eq!(silent.look(&[NodeId(2), NodeId(3)], at(15)), Some(vec![NodeId(2)]));
        assert_eq!(silent.look(&[NodeId(2), NodeId(3)], at(16)), None, "nothing new");
        assert_eq!(silent.look(&[NodeId(3)], at(17)), Some(vec![]));
        assert_eq!(silent.look(&[NodeId(3)], at(20)), Some(vec![NodeId(3)]));
    }
}
