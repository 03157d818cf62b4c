//! The first placement of the groups: a pure function of the founding.

use kahuna_protocol::meta::{PlaceGroups, Placement, Replica};
use kahuna_protocol::{GroupId, RangeMap, ReplicaId};

use crate::manifest::founding::Founding;

/// Most voters of one group.
const MAX_VOTERS: usize = 5;

/// Cuts the positions evenly and places every data group on up to [`MAX_VOTERS`] nodes; writes down where the meta group is.
///
/// The first replica of a group initialises it and is its preferred leader: it moves on by one node with every group,
/// so that leaders spread evenly. Replica ids go on behind those of the meta group.
pub fn place_groups(founding: &Founding) -> PlaceGroups {
    let nodes = founding.members.len();
    let voters = nodes.min(MAX_VOTERS);
    let mut next = founding.members.iter().map(|member| member.replica.0).max().unwrap_or(0) + 1;
    let mut mint = || {
        next += 1;
        ReplicaId(next - 1)
    };
    let meta = Placement { group: GroupId::META, replicas: founding.members.clone(), led: true };
    let data = (1..=founding.partitions).map(|group| {
        let first = group as usize - 1;
        let replicas = (0..voters)
            .map(|offset| {
                let member = &founding.members[(first + offset) % nodes];
                Replica { replica: mint(), ..member.clone() }
            })
            .collect();
        Placement { group: GroupId(group), replicas, led: false }
    });
    let placements = std::iter::once(meta).chain(data).collect();
    PlaceGroups { settings: founding.settings, map: RangeMap::even(founding.partitions), placements }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kahuna_protocol::meta::{Map, NodeInfo, Settings};
    use kahuna_protocol::{ClusterId, Incarnation, NodeId, Outcome, Request};

    use super::*;
    use crate::config::MAX_PARTITIONS;

    fn founding(nodes: u32, partitions: u32) -> Founding {
        let members = (1..=nodes)
            .map(|node| Replica {
                replica: ReplicaId(u64::from(node)),
                node: NodeId(node),
                incarnation: Incarnation(100 + u64::from(node)),
            })
            .collect();
        Founding { cluster: ClusterId([7; 16]), members, partitions, settings: Settings::default() }
    }

    #[test]
    fn the_most_partitions_are_placed_by_one_record_and_their_map_fits_a_frame() {
        // The least that `--segment-size` may be, and what is accepted from clients with it.
        let half_segment = (2 << 20) / 2;
        let max_frame_bytes = half_segment + (64 << 10);
        let request = Request::from(place_groups(&founding(5, MAX_PARTITIONS)));
        let mut record = Vec::new();
        request.encode_body(&mut record);
        assert!(record.len() + (64 << 10) < half_segment, "{} bytes", record.len());
        let Request::PlaceGroups(placed) = request else { unreachable!() };
        let address = "a".repeat(255);
        let nodes = (1..=5).map(|node| NodeInfo {
            node: NodeId(node),
            incarnation: Incarnation(1),
            client_address: address.clone(),
            peer_address: address.clone(),
            shards: u16::MAX,
        });
        let mut map = Vec::new();
        Outcome::from(Map { ranges: placed.map, nodes: nodes.collect() }).encode_body(&mut map);
        assert!(map.len() + 1024 < max_frame_bytes, "{} bytes", map.len());
    }

    #[test]
    fn ids_are_unique_and_first_replicas_spread() {
        for (nodes, partitions) in [(1, 1), (1, 16), (3, 16), (5, 7), (7, 20)] {
            let placed = place_groups(&founding(nodes, partitions));
            let replicas = || placed.placements.iter().flat_map(|placement| &placement.replicas);
            let ids: BTreeSet<ReplicaId> = replicas().map(|replica| replica.replica).collect();
            assert_eq!(ids.len(), replicas().count(), "{nodes} nodes");
            let (meta, data) = placed.placements.split_first().expect("the meta group's line is the first");
            assert_eq!((meta.group, &meta.replicas), (GroupId::META, &founding(nodes, partitions).members));
            for node in 1..=nodes {
                let first = data.iter().filter(|placement| placement.replicas[0].node == NodeId(node)).count();
                let fair = (partitions / nodes) as usize;
                assert!((fair..=fair + 1).contains(&first), "{nodes} nodes: node {node} leads {first}");
            }
            for placement in data {
                let distinct: BTreeSet<NodeId> = placement.replicas.iter().map(|replica| replica.node).collect();
                assert_eq!(distinct.len(), (nodes as usize).min(MAX_VOTERS));
            }
        }
    }
}
