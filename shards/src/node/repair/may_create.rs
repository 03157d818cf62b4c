//! Which replica a node may make of a group that is placed on it: a pure function of the meta group's state and the count of
//! losses.
//!
//! ```text
//!   placed here, held by the log                     opened as ever
//!   placed here, not held, nothing lost yet          made under the id it was placed with
//!   placed here, not held, an id for this loss       made under that id, empty; its group's leader feeds it
//!   placed here, not held, no id for this loss       the meta group is asked for one      ReplaceReplica
//! ```
//! **An id whose log is lost is never opened again.** What a log holds was made while it, or a log it was copied from, was
//! the valid one. Everything else is made only under the present count of losses: a replica that a lost log held was made
//! before that loss was counted, so its id was minted for a lower count, and no id is minted for a count before the manifest
//! says it durably. That holds whenever the process ends, however often a log is lost, and for whatever number of shards
//! the logs are cut. An id that was minted and not used before the next loss is abandoned like a lost one.

use kahuna_machine::Meta;
use kahuna_protocol::meta::Replacement;
use kahuna_protocol::{GroupId, Incarnation, ReplicaId};

/// The id under which the replica of `group` that is placed in a data directory may be made, after so many losses there.
pub fn may_create(meta: &Meta, group: GroupId, incarnation: Incarnation, losses: u32) -> Option<ReplicaId> {
    let placement = meta.placement(group)?;
    let placed = placement.replicas.iter().find(|replica| replica.incarnation == incarnation)?;
    match meta.replacement(group, incarnation) {
        // One that has its place was made, by a log that is not here any more: this is an old copy of the data directory.
        Some(replacement) => (replacement.loss == losses && !replacement.finished).then_some(replacement.replica),
        None => (losses == 0).then_some(placed.replica),
    }
}

/// Whether the replica in the data directory of `incarnation` is the one to initialise `group`: the first of those it was
/// placed with whose place was never given to another one. What the lost ones before it had begun alone is lost with them;
/// if a majority has it, this one finds no quorum for another beginning.
pub fn initializes_group(meta: &Meta, group: GroupId, incarnation: Incarnation) -> bool {
    let unled = meta.placement(group).filter(|placement| !placement.led);
    let first = unled.and_then(|placement| {
        placement.replicas.iter().find(|replica| meta.replacement(group, replica.incarnation).is_none())
    });
    first.is_some_and(|first| first.incarnation == incarnation)
}

/// The replacement that took the place of `replica`, which lives in the data directory of `incarnation`.
pub fn taken_place(meta: &Meta, group: GroupId, incarnation: Incarnation, replica: ReplicaId) -> Option<&Replacement> {
    meta.replacement(group, incarnation).filter(|replacement| replacement.lost.contains(&replica))
}

#[cfg(test)]
mod tests {
    use kahuna_protocol::meta::{FinishReplacement, PlaceGroups, Placement, ReplaceReplica, Replica, Settings};
    use kahuna_protocol::{NodeId, RangeMap};

    use super::*;

    const GROUP: GroupId = GroupId(1);
    const HERE: Incarnation = Incarnation(102);

    fn meta(led: bool) -> Meta {
        let replica = |node: u32| Replica {
            replica: ReplicaId(u64::from(node)),
            node: NodeId(node),
            incarnation: Incarnation(100 + u64::from(node)),
        };
        let placements = vec![Placement { group: GROUP, replicas: (1..=3).map(replica).collect(), led }];
        let mut meta = Meta::default();
        let settings = Settings::default();
        meta.place(PlaceGroups { settings, map: RangeMap::even(1), placements }).expect("a sound placement");
        meta
    }

    /// Claim: a group whose first replica is lost before it has begun is begun by the next one.
    #[test]
    fn the_first_whose_place_is_its_own_begins_a_group() {
        let mut meta = meta(false);
        let begin = |meta: &Meta| {
            (101..=103).filter(|&node| initializes_group(meta, GROUP, Incarnation(node))).collect::<Vec<_>>()
        };
        let lose = |meta: &mut Meta, node: u32, loss: u32| {
            meta.replace(&ReplaceReplica {
                group: GROUP,
                node: NodeId(node),
                incarnation: Incarnation(100 + u64::from(node)),
                loss,
            })
            .expect("placed");
        };
        assert_eq!(begin(&meta), [101]);
        lose(&mut meta, 2, 1);
        assert_eq!(begin(&meta), [101]);
        lose(&mut meta, 1, 1);
        assert_eq!(begin(&meta), [103]);
        lose(&mut meta, 1, 2);
        assert_eq!(begin(&meta), [103]);
        assert_eq!(meta.set_led(GROUP), Ok(true));
        assert_eq!(begin(&meta), [] as [u64; 0], "it has begun");
    }

    fn replace(meta: &mut Meta, loss: u32) -> ReplicaId {
        let asked = ReplaceReplica { group: GROUP, node: NodeId(2), incarnation: HERE, loss };
        meta.replace(&asked).expect("it is placed there");
        meta.replacement(GROUP, HERE).expect("asked for").replica
    }

    /// One node's part in one group.
    #[derive(Clone)]
    struct Node {
        meta: Meta,
        losses: u32,
        /// What the valid log holds, and what lost ones held.
        held: Option<ReplicaId>,
        dead: Vec<ReplicaId>,
        /// The losses that were asked for; each request may arrive late, and more than once.
        sent: Vec<u32>,
    }

    impl Node {
        /// Everything that may happen next.
        fn next(&self) -> Vec<Self> {
            let changed = |change: &dyn Fn(&mut Self)| {
                let mut node = self.clone();
                change(&mut node);
                node
            };
            // Of another group: this one's log stays.
            let mut all = vec![changed(&|node| node.losses += 1)];
            all.push(changed(&|node| {
                node.losses += 1;
                node.dead.extend(node.held.take());
            }));
            if self.held.is_none() {
                let may = may_create(&self.meta, GROUP, HERE, self.losses);
                all.extend(may.map(|id| changed(&|node| node.held = Some(id))));
                all.push(changed(&|node| node.sent.push(node.losses)));
            }
            all.extend(self.sent.iter().filter(|&&loss| loss > 0).map(|&loss| {
                changed(&|node| {
                    replace(&mut node.meta, loss);
                })
            }));
            all.extend(self.meta.replacement(GROUP, HERE).map(|replacement| {
                let finish = FinishReplacement { group: GROUP, replica: replacement.replica };
                changed(&|node| {
                    node.meta.finish(&finish).expect("it is pending, or finished");
                })
            }));
            all
        }

        fn explore(&self, depth: u32) -> u32 {
            if let Some(held) = self.held {
                assert!(!self.dead.contains(&held), "{held} runs again after {} losses", self.losses);
                let given_up = self.meta.replacement(GROUP, HERE).is_some_and(|it| it.lost.contains(&held));
                assert!(!given_up, "{held} runs, and its place was given away");
            }
            let Some(depth) = depth.checked_sub(1) else { return 1 };
            1 + self.next().iter().map(|next| next.explore(depth)).sum::<u32>()
        }
    }

    /// Claim: no id that a log held before it was lost ever runs again, and none that runs is given up.
    /// Method: all orders of losing, asking, minting, making and finishing, to a depth of seven.
    #[test]
    fn an_id_whose_log_was_lost_never_runs_again() {
        let start = Node { meta: meta(true), losses: 0, held: None, dead: Vec::new(), sent: Vec::new() };
        let seen = start.explore(7);
        assert!(seen > 10_000, "only {seen} states");
    }

    #[test]
    fn what_may_be_made_follows_the_count_of_losses() {
        let mut meta = meta(true);
        let may = |meta: &Meta, losses| may_create(meta, GROUP, HERE, losses);
        assert_eq!((may(&meta, 0), may(&meta, 1)), (Some(ReplicaId(2)), None));
        let first = replace(&mut meta, 1);
        assert_eq!((may(&meta, 0), may(&meta, 1), may(&meta, 2)), (None, Some(first), None));
        let second = replace(&mut meta, 2);
        assert_eq!((may(&meta, 1), may(&meta, 2)), (None, Some(second)));
        meta.finish(&FinishReplacement { group: GROUP, replica: second }).expect("it is pending");
        assert_eq!(may(&meta, 2), None, "it was made, so this directory has forgotten it");
        assert_eq!(may_create(&meta, GROUP, Incarnation(101), 0), Some(ReplicaId(1)), "of another node");
        assert_eq!(may_create(&meta, GROUP, Incarnation(7), 0), None, "not placed there");
    }
}
