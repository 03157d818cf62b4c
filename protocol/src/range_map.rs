//! Which partition owns a position, and who leads it.

use rkyv::{Archive, Deserialize, Serialize};

use crate::{GroupId, NodeId, Position};

/// One partition's line in the map.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct RangeEntry {
    /// The encoded position at which the range starts; it ends where the next one starts. The first starts at the
    /// empty string.
    pub start: Vec<u8>,
    /// The partition, which is its Raft group.
    pub partition: GroupId,
    /// The range's epoch: the highest one wins.
    pub epoch: u64,
    /// The node that was last seen to lead; 0 when none is known.
    pub leader: NodeId,
}

/// All partitions in the order of their ranges; they cover every position without gap or overlap.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct RangeMap {
    /// The ranges, ascending by `start`.
    pub ranges: Vec<RangeEntry>,
}

impl RangeMap {
    /// The map of a fresh cluster: `partitions` equal cuts of the hash space, as groups `1..=partitions`.
    pub fn even(partitions: u32) -> Self {
        assert!(partitions > 0, "a cluster has at least one data partition");
        let start = |index: u32| {
            let hash = (u128::from(index) << 64) / u128::from(partitions);
            u64::try_from(hash).expect("index < partitions keeps the cut below 2^64")
        };
        let ranges = (0..partitions)
            .map(|index| RangeEntry {
                start: if index == 0 { Vec::new() } else { start(index).to_be_bytes().to_vec() },
                partition: GroupId(index + 1),
                epoch: 1,
                leader: NodeId(0),
            })
            .collect();
        Self { ranges }
    }

    /// The line that owns `position`; `None` only for an empty map.
    pub fn find(&self, position: &Position) -> Option<&RangeEntry> {
        let behind = self.ranges.partition_point(|range| range.start[..] <= position.encoded()[..]);
        self.ranges.get(behind.checked_sub(1)?)
    }

    /// The partition that owns `name`, whatever the record's kind: they are never separated.
    pub fn owner(&self, name: &[u8]) -> Option<GroupId> {
        self.find(&Position::of_name(name)).map(|range| range.partition)
    }
}
