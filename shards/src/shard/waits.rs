//! What keeps a shard from serving, for a person.

use kahuna_machine::Meta;
use kahuna_protocol::meta::Placement;

use super::shard::Shard;
use crate::env::Env;

/// So many groups are named.
const NAMED: usize = 8;

impl<E: Env> Shard<E> {
    /// What the shard waits for; empty when it serves: every group that has its place here is open, and is led as far as
    /// its replica knows. A node without a cluster sets its own text.
    pub(crate) fn waits_for(&self) -> String {
        let waiting = self.waiting();
        if !waiting.is_empty() || self.view().id().is_none() {
            return waiting;
        }
        if !self.view().has_map() {
            return "reading the range map".to_owned();
        }
        let groups = self.groups().all();
        let placed = self.placed();
        if groups.len() < placed {
            return format!("opening its groups: {} of {placed} are there on shard {}", groups.len(), self.id());
        }
        let unled: Vec<_> = groups.iter().filter(|group| group.replica().leader().replica.is_none()).collect();
        if unled.is_empty() {
            return String::new();
        }
        let named: Vec<String> = unled.iter().take(NAMED).map(|group| group.id().to_string()).collect();
        let more = if unled.len() > NAMED { ", .." } else { "" };
        let (of, shard) = (groups.len(), self.id());
        format!("{} of {of} groups on shard {shard} have no leader known here: {}{more}", unled.len(), named.join(", "))
    }

    /// Takes note of how many groups have their place on this shard.
    pub(crate) fn count_placed(&self, meta: &Meta) {
        let here = |placement: &&Placement| {
            placement.group.shard(self.shards()) == self.id()
                && placement.replicas.iter().any(|replica| replica.incarnation == self.incarnation())
        };
        self.set_placed(meta.placements().filter(here).count());
    }
}
