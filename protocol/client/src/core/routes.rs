//! The client's copy of the range map: which node and shard to ask first. It may be stale; any node answers.

use std::collections::{BTreeMap, BTreeSet};

use kahuna_protocol::meta::Map;
use kahuna_protocol::{GroupId, NodeId, Position, RangeEntry, RangeMap, ShardId};

/// The last known ranges, leaders, and shards of nodes.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    ranges: RangeMap,
    /// Shards of each node.
    shards: BTreeMap<NodeId, u16>,
}

impl Routes {
    /// Takes over what a node's map knows better: of each piece the range of the later epoch, the map's own if both are of the
    /// same. A leader that the map does not know stays. False if the map has a range in an earlier form, or none.
    pub(crate) fn adopt(&mut self, map: &Map) -> bool {
        for node in &map.nodes {
            self.shards.insert(node.node, node.shards.max(1));
        }
        let before: BTreeMap<GroupId, NodeId> =
            self.ranges.ranges.iter().map(|range| (range.partition, range.leader)).collect();
        let mut later = later_of(&self.ranges, &map.ranges);
        for range in later.ranges.iter_mut().filter(|range| range.leader == NodeId(0)) {
            range.leader = before.get(&range.partition).copied().unwrap_or(NodeId(0));
        }
        self.ranges = later;
        let is_known =
            |(later, new): (&RangeEntry, &RangeEntry)| (later.partition, later.epoch) == (new.partition, new.epoch);
        let (later, new) = (&self.ranges.ranges, &map.ranges.ranges);
        !new.is_empty() && later.len() == new.len() && later.iter().zip(new).all(is_known)
    }

    /// The node that leads at `position` and its shard that owns the partition; `None` when no leader is known.
    pub(crate) fn target(&self, position: &Position) -> Option<(NodeId, ShardId)> {
        let range = self.ranges.find(position)?;
        if range.leader == NodeId(0) {
            return None;
        }
        let shards = self.shards.get(&range.leader).copied().unwrap_or(1);
        Some((range.leader, range.partition.shard(shards)))
    }

    /// The partition that `position` is in; `None` where the map has none.
    pub(crate) fn partition(&self, position: &Position) -> Option<GroupId> {
        self.ranges.find(position).map(|range| range.partition)
    }

    /// Whether the map has `partition`.
    pub(crate) fn has(&self, partition: GroupId) -> bool {
        self.ranges.ranges.iter().any(|range| range.partition == partition)
    }

    /// Stores that `leader` leads at `position`, as a node answered.
    pub(crate) fn set_leader(&mut self, position: &Position, leader: NodeId) {
        let Some(partition) = self.partition(position) else { return };
        for range in self.ranges.ranges.iter_mut().filter(|range| range.partition == partition) {
            range.leader = leader;
        }
    }
}

/// Of each piece of the order of positions the range of the later epoch; that of `new` where both are of the same.
fn later_of(old: &RangeMap, new: &RangeMap) -> RangeMap {
    let starts: BTreeSet<&Vec<u8>> = old.ranges.iter().chain(&new.ranges).map(|range| &range.start).collect();
    let mut later = RangeMap::default();
    for start in starts {
        let at = Position::from_encoded(start.clone().into());
        let range = match (old.find(&at), new.find(&at)) {
            (Some(old), Some(new)) if old.epoch > new.epoch => old,
            (_, Some(new)) => new,
            (Some(old), None) => old,
            (None, None) => continue,
        };
        let goes_on =
            later.ranges.last().is_some_and(|last| (last.partition, last.epoch) == (range.partition, range.epoch));
        if !goes_on {
            later.ranges.push(RangeEntry { start: start.clone(), ..range.clone() });
        }
    }
    later
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &[(&str, u32, u64, u32)]) -> Map {
        let entry = |&(start, partition, epoch, leader): &(&str, u32, u64, u32)| RangeEntry {
            start: start.as_bytes().to_vec(),
            partition: GroupId(partition),
            epoch,
            leader: NodeId(leader),
        };
        Map { ranges: RangeMap { ranges: ranges.iter().map(entry).collect() }, nodes: Vec::new() }
    }

    fn adopted(maps: &[&Map]) -> RangeMap {
        let mut routes = Routes::default();
        for map in maps {
            routes.adopt(map);
        }
        routes.ranges
    }

    #[test]
    fn of_two_maps_with_the_same_highest_epoch_each_range_is_kept_in_its_later_form() {
        // Both know the split of the first partition; one does not know yet that the second was split.
        let older = map(&[("", 1, 5, 1), ("g", 3, 5, 1), ("m", 2, 1, 2)]);
        let later = map(&[("", 1, 5, 1), ("g", 3, 5, 1), ("m", 2, 4, 2), ("t", 4, 4, 3)]);
        assert_eq!(adopted(&[&older, &later]), later.ranges);
        assert_eq!(adopted(&[&later, &older]), later.ranges, "an older map changes nothing");
        // Neither is later as a whole: each has a split that the other does not know.
        let other = map(&[("", 1, 1, 1), ("m", 2, 4, 2), ("t", 4, 4, 3)]);
        assert_eq!(adopted(&[&older, &other]), later.ranges);
        assert_eq!(adopted(&[&other, &older]), later.ranges);
    }

    #[test]
    fn a_map_without_ranges_changes_nothing_and_leaders_are_news() {
        let known = map(&[("", 1, 1, 1), ("m", 2, 1, 0)]);
        assert_eq!(adopted(&[&known, &map(&[])]), known.ranges);
        assert_eq!(adopted(&[&map(&[]), &known]), known.ranges);
        let news = map(&[("", 1, 1, 0), ("m", 2, 1, 3)]);
        assert_eq!(adopted(&[&known, &news]), map(&[("", 1, 1, 1), ("m", 2, 1, 3)]).ranges);
    }
}
