//! Nodes that move.

use super::hosts::STARTING_MS;
use super::{Nemesis, SimFault};

impl Nemesis<'_> {
    /// Moves one node, whose new address the others do not know, or all of them with a new list for each. Nothing happens
    /// before all belong to the cluster: until then they know each other by their lists alone, which have to be right.
    pub(super) async fn strike_addresses(&self, fault: SimFault) -> bool {
        let founded = |node| self.cluster.probe(node).is_some_and(|probe| !probe.groups().is_empty());
        if !self.cluster.shape().numbers().all(founded) {
            return false;
        }
        let nodes = match fault {
            SimFault::MoveAll => self.take_all(),
            _ => self.take().map(|node| vec![node]),
        };
        let Some(nodes) = nodes else { return false };
        for &node in &nodes {
            self.cluster.kill(node);
        }
        self.last().await;
        let told = match fault {
            SimFault::MoveAll => None,
            _ => Some(self.cluster.peer_ports()),
        };
        nodes.iter().for_each(|&node| self.cluster.move_peers(node));
        for node in nodes {
            self.pause(STARTING_MS).await;
            match &told {
                Some(old) => self.cluster.start_with_peers(node, old),
                None => self.cluster.start(node),
            }
            self.give_back(node);
        }
        true
    }
}
