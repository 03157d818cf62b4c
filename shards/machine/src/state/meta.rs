//! State of the meta group: the nodes, and the placement of every group.

use std::sync::Arc;

use bytes::Bytes;
use imbl::GenericOrdMap;
use imbl::shared_ptr::ArcK;
use kahuna_protocol::limits::MAX_NAME_BYTES;
use kahuna_protocol::meta::{
    FinishReplacement, NodeInfo, PlaceGroups, Placement, ReplaceReplica, Replacement, Settings,
};
use kahuna_protocol::{GroupId, Incarnation, NodeId, RangeMap, ReplicaId};

use super::Range;

/// An ordered map whose clone shares every node with the original, also on another thread.
type Table<K, V> = GenericOrdMap<K, Arc<V>, ArcK>;

/// The cluster as the meta group knows it. A clone shares all of it, and a change copies only the path that it touches: every
/// shard of a node has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    settings: Settings,
    map: Arc<RangeMap>,
    /// By group.
    placements: Table<GroupId, Placement>,
    /// By group and data directory.
    replacements: Table<(GroupId, Incarnation), Replacement>,
    /// By node.
    nodes: Table<NodeId, NodeInfo>,
    next_replica: ReplicaId,
}

impl Meta {
    /// What was written down, in the order of a snapshot; `None` where it cannot have come about by what this type does.
    pub fn from_parts(
        groups: PlaceGroups,
        next_replica: ReplicaId,
        nodes: Vec<NodeInfo>,
        replacements: Vec<Replacement>,
    ) -> Option<Self> {
        let PlaceGroups { settings, map, placements } = groups;
        let ascends = placements.is_sorted_by(|one, next| one.group < next.group)
            && nodes.is_sorted_by(|one, next| one.node < next.node)
            && replacements.is_sorted_by(|one, next| place_of(one) < place_of(next));
        let placed = |line: &Placement| (line.group, Arc::new(line.clone()));
        let meta = Self {
            settings,
            placements: placements.iter().map(placed).collect(),
            replacements: replacements.into_iter().map(|line| (place_of(&line), Arc::new(line))).collect(),
            nodes: nodes.into_iter().map(|info| (info.node, Arc::new(info))).collect(),
            next_replica,
            map: Arc::new(map),
        };
        let is_known = |line: &Replacement| meta.placement(line.group).is_some() && line.replica < next_replica;
        let is_sound = if meta.is_placed() {
            check_map(&meta.map, &placements).is_ok()
                && check_replicas(&placements, ReplicaId(1)).is_ok_and(|lowest| lowest <= next_replica)
                && meta.replacements().all(is_known)
        } else {
            meta.map.ranges.is_empty() && meta.replacements.is_empty()
        };
        (ascends && is_sound).then_some(meta)
    }

    /// For every data group.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The cluster's ranges; empty until the groups are placed.
    pub fn map(&self) -> &RangeMap {
        &self.map
    }

    /// One line a group, ascending by group; none until the groups are placed.
    pub fn placements(&self) -> impl Iterator<Item = &Placement> {
        self.placements.values().map(|placement| &**placement)
    }

    /// One line for every place whose replica was lost, ascending by group and data directory.
    pub fn replacements(&self) -> impl Iterator<Item = &Replacement> {
        self.replacements.values().map(|replacement| &**replacement)
    }

    /// The nodes, ascending by number.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().map(|info| &**info)
    }

    /// No replica has this id or a higher one.
    pub fn next_replica(&self) -> ReplicaId {
        self.next_replica
    }

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
        self.settings = settings;
        self.map = Arc::new(map);
        self.placements = placements.into_iter().map(|placement| (placement.group, Arc::new(placement))).collect();
        self.next_replica = next_replica;
        Ok(true)
    }

    /// Notes that `group` was led. Whether anything changed.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn set_led(&mut self, group: GroupId) -> Result<bool, String> {
        let placement = self.placements.get(&group).ok_or_else(|| format!("group {group} has no place"))?;
        if placement.led {
            return Ok(false);
        }
        self.placements.insert(group, Arc::new(Placement { led: true, ..Placement::clone(placement) }));
        Ok(true)
    }

    /// The line of `group`.
    pub fn placement(&self, group: GroupId) -> Option<&Placement> {
        self.placements.get(&group).map(|placement| &**placement)
    }

    /// The last replacement of the replica that `group` has, or shall have, in the data directory `incarnation`.
    pub fn replacement(&self, group: GroupId, incarnation: Incarnation) -> Option<&Replacement> {
        self.replacements.get(&(group, incarnation)).map(|replacement| &**replacement)
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
        let before = self.replacement(group, incarnation);
        if before.is_some_and(|before| before.loss >= loss) {
            return Ok(false);
        }
        let mut lost = before.map_or_else(Vec::new, |before| before.lost.clone());
        lost.push(before.map_or(placed, |before| before.replica));
        let replica = self.next_replica;
        self.next_replica = after(replica).ok_or("the replica ids leave none free")?;
        let minted = Replacement { group, node, incarnation, loss, replica, finished: false, lost };
        self.replacements.insert(place_of(&minted), Arc::new(minted));
        Ok(true)
    }

    /// Gives a replica that was minted for a lost place that place. Nothing changes for one that has it, or that was lost
    /// itself meanwhile. Whether anything changed.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn finish(&mut self, finished: &FinishReplacement) -> Result<bool, String> {
        let FinishReplacement { group, replica } = *finished;
        let of_group = || {
            self.replacements.range((group, Incarnation(0))..=(group, Incarnation(u64::MAX))).map(|(_, line)| &**line)
        };
        let Some(line) = of_group().find(|line| line.replica == replica) else {
            let known = of_group().any(|line| line.lost.contains(&replica));
            return if known { Ok(false) } else { Err(format!("replica {replica} replaces none of group {group}")) };
        };
        if line.finished {
            return Ok(false);
        }
        let (line, incarnation) = (Replacement { finished: true, ..line.clone() }, line.incarnation);
        self.replacements.insert(place_of(&line), Arc::new(line));
        let placement = self.placement(group).expect("a replacement is minted for a group that has a place");
        // Only a leader can have carried it out.
        let mut placement = Placement { led: true, ..placement.clone() };
        let here = placement.replicas.iter_mut().filter(|here| here.incarnation == incarnation);
        here.for_each(|here| here.replica = replica);
        self.placements.insert(group, Arc::new(placement));
        Ok(true)
    }

    /// Writes down a node. Once the groups are placed, that is one of those that have replicas. Whether anything changed.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn upsert_node(&mut self, info: NodeInfo) -> Result<bool, String> {
        let NodeInfo { node, incarnation, ref client_address, ref peer_address, shards } = info;
        let has_replica = |placement: &Placement| {
            placement.replicas.iter().any(|replica| (replica.node, replica.incarnation) == (node, incarnation))
        };
        if self.is_placed() && !self.placements().any(has_replica) {
            return Err(format!("node {node} with data directory {incarnation:016x} has no replica of any group"));
        }
        if shards == 0 {
            return Err(format!("node {node} has no shard"));
        }
        if [client_address, peer_address].iter().any(|address| address.len() > MAX_NAME_BYTES) {
            return Err(format!("an address of node {node} is longer than {MAX_NAME_BYTES} bytes"));
        }
        if self.nodes.get(&node).is_some_and(|known| **known == info) {
            return Ok(false);
        }
        self.nodes.insert(node, Arc::new(info));
        Ok(true)
    }
}

/// What replacements are ordered by.
fn place_of(line: &Replacement) -> (GroupId, Incarnation) {
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

/// The id that is minted next.
fn after(replica: ReplicaId) -> Option<ReplicaId> {
    replica.0.checked_add(1).map(ReplicaId)
}

/// No id was used before; the lowest id that is free then.
fn check_replicas(placements: &[Placement], next_replica: ReplicaId) -> Result<ReplicaId, String> {
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
    let lowest = next_replica.max(ReplicaId(1));
    match (ids.first(), ids.last().and_then(|&last| after(last))) {
        (Some(&first), _) if first < lowest => {
            Err(format!("replica id {first} is below {lowest}, the lowest free one"))
        }
        (_, Some(next)) => Ok(next),
        (_, None) => Err("the replica ids leave none free".to_owned()),
    }
}
