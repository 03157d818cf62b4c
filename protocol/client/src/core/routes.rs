//! The client's copy of the range map: which node and shard to ask first. It may be stale; any node answers.

use std::collections::BTreeMap;

use kahuna_protocol::meta::Map;
use kahuna_protocol::{GroupId, Position, RangeMap};

/// Who was last said to lead what.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    ranges: RangeMap,
    /// Shards of each node.
    shards: BTreeMap<u32, u16>,
}

impl Routes {
    /// Takes a node's map over, unless ours knows a later epoch. A leader that the other map does not know stays.
    pub(crate) fn adopt(&mut self, map: &Map) {
        let epoch = |ranges: &RangeMap| ranges.ranges.iter().map(|range| range.epoch).max();
        for node in &map.nodes {
            self.shards.insert(node.node, node.shards.max(1));
        }
        if map.ranges.ranges.is_empty() || epoch(&map.ranges) < epoch(&self.ranges) {
            return;
        }
        let before: BTreeMap<u32, u32> =
            self.ranges.ranges.iter().map(|range| (range.partition, range.leader)).collect();
        self.ranges = map.ranges.clone();
        for range in &mut self.ranges.ranges {
            if range.leader == 0 {
                range.leader = before.get(&range.partition).copied().unwrap_or(0);
            }
        }
    }

    /// The node that leads at `position` and its shard that owns the partition; `None` when no leader is known.
    pub(crate) fn target(&self, position: &Position) -> Option<(u32, u16)> {
        let range = self.ranges.find(position)?;
        if range.leader == 0 {
            return None;
        }
        let shards = self.shards.get(&range.leader).copied().unwrap_or(1);
        Some((range.leader, GroupId(range.partition).shard(shards).0))
    }

    /// A node said that `leader` leads at `position`.
    pub(crate) fn set_leader(&mut self, position: &Position, leader: u32) {
        let Some(partition) = self.ranges.find(position).map(|range| range.partition) else {
            return;
        };
        for range in self.ranges.ranges.iter_mut().filter(|range| range.partition == partition) {
            range.leader = leader;
        }
    }
}
