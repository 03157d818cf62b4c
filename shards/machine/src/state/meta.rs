//! What the meta group keeps: who is there, and which group lives where.

use bytes::Bytes;
use kahuna_protocol::RangeMap;
use kahuna_protocol::limits::MAX_NAME_BYTES;
use kahuna_protocol::meta::{
    FinishReplacement, NodeInfo, PlaceGroups, Placement, ReplaceReplica, Replacement, Settings,
};

use super::Range;

/// The cluster as the meta group knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// For every data group.
    pub settings: Settings,
    /// The cluster's ranges; empty until the groups are placed.
    pub map: RangeMap,
    /// One line a group, ascending by group; empty until the groups are placed.
    pub placements: Vec<Placement>,
    /// One line for every place whose replica was lost, ascending by group and data directory.
    pub replacements: Vec<Replacement>,
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

    /// Whether it can have come about by what this type does: for what was read from a file.
    pub fn is_sound(&self) -> bool {
        let Self { map, placements, replacements, nodes, next_replica, .. } = self;
        if !nodes.is_sorted_by(|one, next| one.node < next.node) {
            return false;
        }
        if !self.is_placed() {
            return map.ranges.is_empty() && replacements.is_empty();
        }
        let is_known = |line: &Replacement| self.placement(line.group).is_some() && line.replica < *next_replica;
        placements.is_sorted_by(|one, next| one.group < next.group)
            && check_map(map, placements).is_ok()
            && check_replicas(placements, 1).is_ok_and(|lowest| lowest <= *next_replica)
            && replacements.is_sorted_by(|one, next| place_of(one) < place_of(next))
            && replacements.iter().all(is_known)
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
        let nodes = std::mem::take(&mut self.nodes);
        *self = Self { settings, map, placements, replacements: Vec::new(), next_replica, nodes };
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

    /// The line of `group`.
    pub fn placement(&self, group: u32) -> Option<&Placement> {
        let at = self.placements.binary_search_by_key(&group, |placement| placement.group).ok()?;
        Some(&self.placements[at])
    }

    /// The last replacement of the replica that `group` has, or shall have, in the data directory `incarnation`.
    pub fn replacement(&self, group: u32, incarnation: u64) -> Option<&Replacement> {
        let at = self.replacements.binary_search_by_key(&(group, incarnation), place_of).ok()?;
        Some(&self.replacements[at])
    }

    /// Mints a replica for a place whose log is gone, unless that was done for this loss or a later one. Whether anything
    /// changed; the line is in [`Meta::replacement`] then and otherwise.
    ///
    /// The ids that had the place before, finished or not, are dead from now on.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn replace(&mut self, asked: &ReplaceReplica) -> Result<bool, String> {
        let ReplaceReplica { group, node, incarnation, loss } = *asked;
        let placement = self.placement(group).ok_or_else(|| format!("group {group} has no place"))?;
        let here = placement.replicas.iter().find(|replica| (replica.node, replica.incarnation) == (node, incarnation));
        let Some(here) = here else {
            return Err(format!("group {group} has no replica on node {node} with data directory {incarnation:016x}"));
        };
        if placement.replicas.len() == 1 {
            return Err(format!("group {group} had no other replica that could feed a new one"));
        }
        if loss == 0 {
            return Err("losses count from 1".to_owned());
        }
        let placed = here.replica;
        let at = self.replacements.binary_search_by_key(&(group, incarnation), place_of);
        let before = at.ok().map(|at| &self.replacements[at]);
        if before.is_some_and(|before| before.loss >= loss) {
            return Ok(false);
        }
        let mut lost = before.map_or_else(Vec::new, |before| before.lost.clone());
        lost.push(before.map_or(placed, |before| before.replica));
        let replica = self.next_replica;
        self.next_replica = replica.checked_add(1).ok_or("the replica ids leave none free")?;
        let minted = Replacement { group, node, incarnation, loss, replica, finished: false, lost };
        match at {
            Ok(at) => self.replacements[at] = minted,
            Err(at) => self.replacements.insert(at, minted),
        }
        Ok(true)
    }

    /// Gives a replica that was minted for a lost place that place. Nothing changes for one that has it, or that was lost
    /// itself meanwhile. Whether anything changed.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn finish(&mut self, finished: &FinishReplacement) -> Result<bool, String> {
        let FinishReplacement { group, replica } = *finished;
        let minted = |line: &&mut Replacement| line.group == group && line.replica == replica;
        let Some(line) = self.replacements.iter_mut().find(minted) else {
            let known = self.replacements.iter().any(|line| line.group == group && line.lost.contains(&replica));
            return if known { Ok(false) } else { Err(format!("replica {replica} replaces none of group {group}")) };
        };
        if std::mem::replace(&mut line.finished, true) {
            return Ok(false);
        }
        let incarnation = line.incarnation;
        let placement = self.placements.iter_mut().find(|placement| placement.group == group);
        let placement = placement.expect("a replacement is minted for a group that has a place");
        // Only a leader can have carried it out.
        placement.led = true;
        let here = placement.replicas.iter_mut().filter(|here| here.incarnation == incarnation);
        here.for_each(|here| here.replica = replica);
        Ok(true)
    }

    /// Writes down a node. Once the groups are placed, that is one of those that have replicas. Whether anything changed.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn upsert_node(&mut self, info: NodeInfo) -> Result<bool, String> {
        let NodeInfo { node, incarnation, ref client_address, ref peer_address, shards } = info;
        let mut replicas = self.placements.iter().flat_map(|placement| &placement.replicas);
        if self.is_placed() && !replicas.any(|replica| (replica.node, replica.incarnation) == (node, incarnation)) {
            return Err(format!("node {node} with data directory {incarnation:016x} has no replica of any group"));
        }
        if shards == 0 {
            return Err(format!("node {node} has no shard"));
        }
        if [client_address, peer_address].iter().any(|address| address.len() > MAX_NAME_BYTES) {
            return Err(format!("an address of node {node} is longer than {MAX_NAME_BYTES} bytes"));
        }
        match self.nodes.binary_search_by_key(&info.node, |node| node.node) {
            Ok(at) if self.nodes[at] == info => return Ok(false),
            Ok(at) => self.nodes[at] = info,
            Err(at) => self.nodes.insert(at, info),
        }
        Ok(true)
    }
}

/// What replacements are ordered by.
fn place_of(line: &Replacement) -> (u32, u64) {
    (line.group, line.incarnation)
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
        let before = Range { end: Some(Bytes::copy_from_slice(&range.start)), ..Range::all(range.epoch) };
        if !before.can_be_crossed() {
            let partition = range.partition;
            return Err(format!("the range of {partition} starts within a key space, and not right behind a name"));
        }
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
