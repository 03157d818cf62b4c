//! What the meta group keeps: who is there, and which group lives where.

use kahuna_protocol::RangeMap;
use kahuna_protocol::meta::{NodeInfo, PlaceGroups, Placement, Settings};

/// The cluster as the meta group knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// For every data group.
    pub settings: Settings,
    /// The cluster's ranges; empty until the groups are placed.
    pub map: RangeMap,
    /// One line a data group, ascending by group; empty until the groups are placed.
    pub placements: Vec<Placement>,
    /// Ascending by node.
    pub nodes: Vec<NodeInfo>,
    /// No replica has this id or a higher one.
    pub next_replica: u64,
}

impl Meta {
    /// Whether the data groups have their places.
    pub fn is_placed(&self) -> bool {
        !self.placements.is_empty()
    }

    /// Takes the first placement; a second one changes nothing. Whether anything changed.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn place(&mut self, groups: PlaceGroups) -> Result<bool, String> {
        if self.is_placed() {
            return Ok(false);
        }
        let PlaceGroups { settings, map, mut placements } = groups;
        placements.sort_by_key(|placement| placement.group);
        if placements.is_empty() {
            return Err("placements is empty; there is at least one data group".to_owned());
        }
        if let Some(twice) = placements.windows(2).find(|pair| pair[0].group == pair[1].group) {
            return Err(format!("group {} is placed twice", twice[0].group));
        }
        check_map(&map, &placements)?;
        let next_replica = check_replicas(&placements, self.next_replica)?;
        *self = Self { settings, map, placements, next_replica, nodes: std::mem::take(&mut self.nodes) };
        Ok(true)
    }

    /// Notes that `group` was led. Whether anything changed.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn set_led(&mut self, group: u32) -> Result<bool, String> {
        let Some(placement) = self.placements.iter_mut().find(|placement| placement.group == group) else {
            return Err(format!("group {group} has no place"));
        };
        Ok(!std::mem::replace(&mut placement.led, true))
    }

    /// Writes down a node. Whether anything changed.
    pub fn upsert_node(&mut self, info: NodeInfo) -> bool {
        match self.nodes.binary_search_by_key(&info.node, |node| node.node) {
            Ok(at) if self.nodes[at] == info => return false,
            Ok(at) => self.nodes[at] = info,
            Err(at) => self.nodes.insert(at, info),
        }
        true
    }
}

/// Every position has one owner, and every owner a place.
fn check_map(map: &RangeMap, placements: &[Placement]) -> Result<(), String> {
    if map.ranges.first().is_none_or(|first| !first.start.is_empty()) {
        return Err("the map's first range does not start at the first position".to_owned());
    }
    if let Some(pair) = map.ranges.windows(2).find(|pair| pair[0].start >= pair[1].start) {
        return Err(format!("the ranges of {} and {} are not in order", pair[0].partition, pair[1].partition));
    }
    for range in &map.ranges {
        if placements.binary_search_by_key(&range.partition, |placement| placement.group).is_err() {
            return Err(format!("partition {} is in the map and has no place", range.partition));
        }
    }
    Ok(())
}

/// No id was used before; the lowest id that is free then.
fn check_replicas(placements: &[Placement], next_replica: u64) -> Result<u64, String> {
    let mut ids = Vec::new();
    for placement in placements {
        if placement.replicas.is_empty() {
            return Err(format!("group {} has no replica", placement.group));
        }
        ids.extend(placement.replicas.iter().map(|replica| replica.replica));
    }
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("replica id {} is used twice", pair[0]));
    }
    let lowest = next_replica.max(1);
    match (ids.first(), ids.last().and_then(|last| last.checked_add(1))) {
        (Some(&first), _) if first < lowest => {
            Err(format!("replica id {first} is below {lowest}, the lowest free one"))
        }
        (_, Some(next)) => Ok(next),
        (_, None) => Err("the replica ids leave none free".to_owned()),
    }
}
