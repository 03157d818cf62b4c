//! What a shard knows of the cluster.
//!
//! ```text
//!   the meta group, over the lanes ─▶ map: ranges and nodes, with their addresses and data directories
//!   replicas of this node, answers ─▶ leaders            the node's watcher ─▶ alive
//! ```
//! All of it is hearsay: a request that goes by it may be refused where it arrives, and is tried again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kahuna_protocol::meta::{Map, NodeInfo};
use kahuna_protocol::{ClusterId, GroupId, Incarnation, NodeId, Position, RangeMap};

/// The cluster as one shard knows it. Only these methods write to it.
#[derive(Debug)]
pub struct ClusterView {
    id: Cell<ClusterId>,
    map: RefCell<Arc<Map>>,
    leaders: RefCell<BTreeMap<GroupId, NodeId>>,
    alive: RefCell<BTreeMap<NodeId, Duration>>,
}

impl Default for ClusterView {
    fn default() -> Self {
        let map = Map { ranges: RangeMap::default(), nodes: Vec::new() };
        Self {
            id: Cell::new(ClusterId::NONE),
            map: RefCell::new(Arc::new(map)),
            leaders: RefCell::default(),
            alive: RefCell::default(),
        }
    }
}

impl ClusterView {
    /// The cluster; [`ClusterId::NONE`] while the node is pending.
    pub fn id(&self) -> ClusterId {
        self.id.get()
    }

    /// The node belongs to a cluster from now on.
    pub fn join(&self, id: ClusterId) {
        self.id.set(id);
    }

    /// Stores the meta group's ranges and nodes.
    pub fn set_map(&self, map: Map) {
        self.map.replace(Arc::new(map));
    }

    /// Whether the meta group was read.
    pub fn has_map(&self) -> bool {
        !self.map.borrow().ranges.ranges.is_empty()
    }

    /// The group that owns a position.
    pub fn group_at(&self, position: &Position) -> Option<GroupId> {
        self.map.borrow().ranges.find(position).map(|range| range.partition)
    }

    /// The range map with the leaders that are known here, and the nodes.
    pub fn current_map(&self) -> Map {
        let mut map = Map::clone(&self.map.borrow());
        for range in &mut map.ranges.ranges {
            range.leader = self.leader_of(range.partition).unwrap_or(range.leader);
        }
        map
    }

    /// The data directory of a node, by the meta group.
    pub fn incarnation_of(&self, node: NodeId) -> Option<Incarnation> {
        self.info_of(node).map(|info| info.incarnation)
    }

    /// Where peers reach a node, by the meta group, `host:port`.
    pub fn peer_address_of(&self, node: NodeId) -> Option<String> {
        self.info_of(node).map(|info| info.peer_address)
    }

    fn info_of(&self, node: NodeId) -> Option<NodeInfo> {
        self.map.borrow().nodes.iter().find(|info| info.node == node).cloned()
    }

    /// The node that leads `group`, as far as this node knows.
    pub fn leader_of(&self, group: GroupId) -> Option<NodeId> {
        self.leaders.borrow().get(&group).copied().filter(|node| node.0 != 0)
    }

    /// Stores that `leader` leads `group`; node 0 for none known.
    pub fn set_leader(&self, group: GroupId, leader: NodeId) {
        self.leaders.borrow_mut().insert(group, leader);
    }

    /// Since when a node answers, as time since boot; `None` if it does not.
    pub fn alive_since(&self, node: NodeId) -> Option<Duration> {
        self.alive.borrow().get(&node).copied()
    }

    /// The other nodes that answer, ascending.
    pub fn alive(&self) -> Vec<NodeId> {
        self.alive.borrow().keys().copied().collect()
    }

    /// A node answers from `now` on.
    pub fn node_came(&self, node: NodeId, now: Duration) {
        self.alive.borrow_mut().insert(node, now);
    }

    /// A node does not answer any more.
    pub fn node_went(&self, node: NodeId) {
        self.alive.borrow_mut().remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_names_the_leaders_that_were_heard_of_last() {
        let view = ClusterView::default();
        assert!(!view.has_map());
        view.set_map(Map { ranges: RangeMap::even(2), nodes: Vec::new() });
        assert!(view.has_map());
        let leaders = || view.current_map().ranges.ranges.iter().map(|range| range.leader).collect::<Vec<_>>();
        assert_eq!(leaders(), [NodeId(0), NodeId(0)]);
        view.set_leader(GroupId(1), NodeId(3));
        view.set_leader(GroupId(2), NodeId(2));
        assert_eq!(leaders(), [NodeId(3), NodeId(2)]);
        view.set_leader(GroupId(1), NodeId(0));
        assert_eq!((view.leader_of(GroupId(1)), leaders()), (None, vec![NodeId(0), NodeId(2)]));
    }

    #[test]
    fn a_node_that_came_again_is_alive_since_then() {
        let view = ClusterView::default();
        let at = Duration::from_secs;
        view.node_came(NodeId(2), at(1));
        view.node_came(NodeId(3), at(2));
        view.node_went(NodeId(2));
        assert_eq!((view.alive(), view.alive_since(NodeId(2))), (vec![NodeId(3)], None));
        view.node_came(NodeId(2), at(5));
        assert_eq!((view.alive(), view.alive_since(NodeId(2))), (vec![NodeId(2), NodeId(3)], Some(at(5))));
    }
}
