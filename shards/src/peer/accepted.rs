//! The links that other nodes have to this shard.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use kahuna_protocol::{Incarnation, NodeId, ShardId};

use super::outgoing::Outgoing;

/// Links of other nodes to one shard; one more is refused.
const MAX_LINKS: usize = 4096;

/// Whose link it is: the node, its data directory, its shard.
type Key = (NodeId, Incarnation, ShardId);

/// The links that others dialled to this shard: one for each of their shards, the latest counts.
#[derive(Default)]
pub(super) struct Accepted {
    /// With the serial number of the connection.
    links: RefCell<BTreeMap<Key, (u64, Rc<Outgoing>)>>,
    /// Connections that have not introduced themselves.
    pub(super) strangers: Cell<usize>,
}

impl Accepted {
    /// False when there are too many.
    pub(super) fn insert(&self, key: Key, serial: u64, out: &Rc<Outgoing>) -> bool {
        let mut links = self.links.borrow_mut();
        if links.len() >= MAX_LINKS && !links.contains_key(&key) {
            return false;
        }
        let before = links.insert(key, (serial, out.clone()));
        drop(links);
        if let Some((_, before)) = before {
            before.close();
        }
        true
    }

    pub(super) fn remove(&self, key: Key, serial: u64) {
        let mut links = self.links.borrow_mut();
        if links.get(&key).is_some_and(|(current, _)| *current == serial) {
            links.remove(&key);
        }
    }

    /// Closes the links of a node.
    pub(super) fn close_node(&self, node: NodeId) {
        let links = self.links.borrow();
        links.iter().filter(|(key, _)| key.0 == node).for_each(|(_, (_, out))| out.close());
    }

    /// Whether a node has dialled this shard and the link stands.
    pub(super) fn has_link_of(&self, node: NodeId) -> bool {
        self.links.borrow().keys().any(|key| key.0 == node)
    }

    /// Closes all links.
    pub(super) fn close_all(&self) {
        self.links.borrow().values().for_each(|(_, out)| out.close());
    }

    /// How many links there are.
    pub(super) fn len(&self) -> usize {
        self.links.borrow().len()
    }
}
