//! How a node gets back what it lost: new replicas, one at a time, fed by the other nodes.
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

use std::rc::Rc;
use std::time::Duration;

use kahuna_machine::Meta;
use kahuna_protocol::meta::{ReplaceReplica, Replacement};
use kahuna_protocol::{GroupId, Incarnation, Outcome, ReplicaId};
use kahuna_wal::Disk;

use super::creation::Creation;
use super::manifest::Manifest;
use super::runner::Runner;
use crate::env::{Env, ExitCode};
use crate::raft::snapshot::is_own_name;

/// Between two looks, and while nothing is lost.
const LOOK_EVERY: Duration = Duration::from_millis(25);
const IDLE_LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the meta group may take for an answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one group may be fed before the next one is asked for all the same.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two words about the same thing.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// How far the replicas of a shard are, of those that are placed there.
#[derive(Debug, Default, PartialEq, Eq)]
struct Losses {
    /// Groups without an id that may be used.
    lost: Vec<u32>,
    /// Groups with one that does not vote yet.
    joining: Vec<u32>,
}

impl Losses {
    /// For a person.
    fn describe(&self) -> String {
        let list = |groups: &[u32]| groups.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let joining = (!self.joining.is_empty()).then(|| format!("the other nodes feed {}", list(&self.joining)));
        let lost = (!self.lost.is_empty()).then(|| format!("waiting for their turn: {}", list(&self.lost)));
        let parts: Vec<String> = joining.into_iter().chain(lost).collect();
        format!("replacing the lost replicas of some groups; {}", parts.join("; "))
    }
}

/// Why the meta group has given no replica.
#[derive(Debug)]
struct NotGiven {
    /// What this shard waits for.
    why: String,
    /// The answer. It may be what this very shard waits for, or another one that asks here, so nobody waits for it in turn.
    answer: String,
}

/// What was said, and when.
#[derive(Default)]
struct Report {
    text: String,
    at: Duration,
}

/// The id under which the replica of `group` that is placed in a data directory may be made, after so many losses there.
fn right_to_make(meta: &Meta, group: u32, incarnation: Incarnation, losses: u32) -> Option<ReplicaId> {
    let placement = meta.placement(group)?;
    let placed = placement.replicas.iter().find(|replica| replica.incarnation == incarnation.0)?;
    match meta.replacement(group, incarnation.0) {
        // One that has its place was made, by a log that is not here any more: this is an old copy of the data directory.
        Some(replacement) => {
            (replacement.loss == losses && !replacement.finished).then_some(ReplicaId(replacement.replica))
        }
        None => (losses == 0).then_some(ReplicaId(placed.replica)),
    }
}

/// Whether the replica in the data directory of `incarnation` is the one to initialise `group`: the first of those it was
/// placed with whose place was never given to another one. What the lost ones before it had begun alone is lost with them;
/// if a majority has it, this one finds no quorum for another beginning.
pub(super) fn begins(meta: &Meta, group: u32, incarnation: Incarnation) -> bool {
    let unled = meta.placement(group).filter(|placement| !placement.led);
    let first = unled.and_then(|placement| {
        placement.replicas.iter().find(|replica| meta.replacement(group, replica.incarnation).is_none())
    });
    first.is_some_and(|first| first.incarnation == incarnation.0)
}

impl<E: Env> Runner<E> {
    fn losses(&self) -> u32 {
        self.manifest.borrow().losses
    }

    /// The id under which this node's replica of `group` may be made.
    pub(super) fn right_to_make(&self, meta: &Meta, group: GroupId) -> Option<ReplicaId> {
        right_to_make(meta, group.0, self.shard.incarnation(), self.losses())
    }

    /// Ends the process if a replica that runs here was given up: the directory is an old copy.
    pub(super) fn refuse_the_dead(&self, meta: &Meta, group: GroupId) {
        let replica = self.shard.group(group).map(|group| group.replica().id().0);
        let replacement = meta.replacement(group.0, self.shard.incarnation().0);
        if let (Some(replica), Some(replacement)) = (replica, replacement)
            && replacement.lost.contains(&replica)
        {
            let text = format!(
                "{}: {group}: replica {replica} was given up when its log was lost, and replica {} took its place. This is \
                 an old copy of the data directory: it must not run",
                self.config.data_dir.display(),
                replacement.replica
            );
            E::abort(ExitCode::DataDamaged, &text);
        }
    }

    /// Makes the meta group's new replica in the place of the one that was `founded`, or of a later one; false if the node stops before.
    pub(super) async fn reseed_meta(&self, founded: &Creation) -> bool {
        let mut report = Report::default();
        while !self.stopping.get() {
            match self.ask_for(GroupId::META).await {
                Ok(replacement) => {
                    self.make_group(Creation { replica: replacement.replica, ..founded.clone() }).await;
                    return true;
                }
                Err(NotGiven { why, answer }) => {
                    self.report(&mut report, format!("the meta group's replica is lost: {why}"), &answer);
                }
            }
            E::sleep(LOOK_EVERY).await;
        }
        false
    }

    /// Asks for new replicas in the place of lost ones, one after the other, until all of them vote; rests until another
    /// loss is counted. That may be one of another shard: a group that was placed here, and not yet made, needs another id
    /// from then on.
    pub(super) async fn reseed(self: Rc<Self>) {
        let mut report = Report::default();
        let (mut seen, mut since) = (Losses::default(), E::boot_clock());
        let mut replaced = 0;
        while !self.stopping.get() {
            let losses = self.losses();
            if losses == replaced {
                E::sleep(IDLE_LOOK_EVERY).await;
                continue;
            }
            let Some(meta) = self.meta.borrow().clone().filter(|meta| meta.is_placed()) else {
                self.report(&mut report, "lost replicas are replaced once the meta group is read".into(), "");
                E::sleep(LOOK_EVERY).await;
                continue;
            };
            let left = self.left(&meta);
            if left.lost.is_empty() && left.joining.is_empty() {
                self.remove_lost_snapshots(&meta).await;
                if !report.text.is_empty() {
                    crate::say!("shard {}: all its lost replicas are replaced", self.shard.id());
                }
                self.shard.set_waiting("");
                report = Report::default();
                replaced = losses;
                continue;
            }
            if left != seen {
                since = E::boot_clock();
            }
            let (mut text, mut answered) = (left.describe(), String::new());
            let next = left.lost.first().filter(|_| left.joining.is_empty() || E::boot_clock() > since + PATIENCE);
            if let Some(&group) = next
                && let Err(NotGiven { why, answer }) = self.ask_for(GroupId(group)).await
            {
                text = format!("{text}; {why}");
                answered = answer;
            }
            self.report(&mut report, text, &answered);
            seen = left;
            E::sleep(LOOK_EVERY).await;
        }
    }

    /// What is left to do for the groups of this shard.
    fn left(&self, meta: &Meta) -> Losses {
        let mut left = Losses::default();
        let incarnation = self.shard.incarnation().0;
        for placement in &meta.placements {
            let group = GroupId(placement.group);
            let here = placement.replicas.iter().any(|replica| replica.incarnation == incarnation);
            if !here || group.shard(self.config.shards) != self.shard.id() {
                continue;
            }
            let held = self.made.borrow().contains(&group);
            let pending = meta.replacement(group.0, incarnation).is_some_and(|replacement| !replacement.finished);
            if !held && self.right_to_make(meta, group).is_none() {
                left.lost.push(group.0);
            } else if pending {
                left.joining.push(group.0);
            }
        }
        left
    }

    /// The replica that the meta group mints, or has minted, for this node's loss of `group`.
    async fn ask_for(&self, group: GroupId) -> Result<Replacement, NotGiven> {
        let loss = self.losses();
        let (node, incarnation) = (self.config.node.0, self.shard.incarnation().0);
        let asked = ReplaceReplica { group: group.0, node, incarnation, loss };
        match self.shard.system(GroupId::META, &asked.into(), ASK_TIMEOUT).await {
            Outcome::Replacement(replacement) if replacement.loss == loss && !replacement.finished => Ok(replacement),
            Outcome::Replacement(replacement) => {
                let why = format!(
                    "this data directory counts {loss} losses, and the cluster knows replica {} of it, of loss {}: it is an old copy",
                    replacement.replica, replacement.loss
                );
                Err(NotGiven { why, answer: String::new() })
            }
            Outcome::Error(error) => {
                let why = "the meta group does not answer. If a majority of the nodes is gone for good, stop this one and \
                           see `kahuna recover --help`";
                Err(NotGiven { why: why.into(), answer: error.text })
            }
            other => Err(NotGiven { why: format!("the meta group answered {other:?}"), answer: String::new() }),
        }
    }

    /// Removes the snapshots of replicas whose place others have.
    async fn remove_lost_snapshots(&self, meta: &Meta) {
        for replacement in &meta.replacements {
            let here = replacement.incarnation == self.shard.incarnation().0
                && GroupId(replacement.group).shard(self.config.shards) == self.shard.id();
            for &replica in replacement.lost.iter().filter(|_| here) {
                let dir = Manifest::snapshot_dir(&self.config.data_dir, replacement.group, replica);
                // Not there any more, or never was; what cannot be removed now is tried again by the next start.
                let Ok(files) = self.disk.list(&dir).await else { continue };
                for file in files.iter().filter(|file| is_own_name(&file.name)) {
                    let _ = self.disk.remove(&dir.join(&file.name)).await;
                }
            }
        }
    }

    /// Says what the shard waits for, on its status and, now and then, aloud, with what it was answered.
    fn report(&self, report: &mut Report, text: String, answer: &str) {
        let now = E::boot_clock();
        if text != report.text || now > report.at + REPORT_EVERY {
            let answered = if answer.is_empty() { String::new() } else { format!(" ({answer})") };
            crate::say!("shard {}: {text}{answered}", self.shard.id());
            *report = Report { text: text.clone(), at: now };
        }
        self.shard.set_waiting(text);
    }
}

#[cfg(test)]
mod tests {
    use kahuna_protocol::RangeMap;
    use kahuna_protocol::meta::{FinishReplacement, PlaceGroups, Placement, Replica, Settings};

    use super::*;

    const HERE: Incarnation = Incarnation(102);

    fn meta() -> Meta {
        let replica = |node: u32| Replica { replica: u64::from(node), node, incarnation: 100 + u64::from(node) };
        let placements = vec![Placement { group: 1, replicas: (1..=3).map(replica).collect(), led: true }];
        let mut meta = Meta::default();
        let settings = Settings::default();
        meta.place(PlaceGroups { settings, map: RangeMap::even(1), placements }).expect("a sound placement");
        meta
    }

    /// Claim: a group whose first replica is lost before it has begun is begun by the next one.
    #[test]
    fn the_first_whose_place_is_its_own_begins_a_group() {
        let mut meta = meta();
        meta.placements[0].led = false;
        let begin = |meta: &Meta| (101..=103).filter(|&node| begins(meta, 1, Incarnation(node))).collect::<Vec<_>>();
        let lose = |meta: &mut Meta, node: u32, loss: u32| {
            meta.replace(&ReplaceReplica { group: 1, node, incarnation: 100 + u64::from(node), loss }).expect("placed");
        };
        assert_eq!(begin(&meta), [101]);
        lose(&mut meta, 2, 1);
        assert_eq!(begin(&meta), [101]);
        lose(&mut meta, 1, 1);
        assert_eq!(begin(&meta), [103]);
        lose(&mut meta, 1, 2);
        assert_eq!(begin(&meta), [103]);
        meta.placements[0].led = true;
        assert_eq!(begin(&meta), [] as [u64; 0], "it has begun");
    }

    fn replace(meta: &mut Meta, loss: u32) -> ReplicaId {
        let asked = ReplaceReplica { group: 1, node: 2, incarnation: HERE.0, loss };
        meta.replace(&asked).expect("it is placed there");
        ReplicaId(meta.replacement(1, HERE.0).expect("asked for").replica)
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
                let may = right_to_make(&self.meta, 1, HERE, self.losses);
                all.extend(may.map(|id| changed(&|node| node.held = Some(id))));
                all.push(changed(&|node| node.sent.push(node.losses)));
            }
            all.extend(self.sent.iter().filter(|&&loss| loss > 0).map(|&loss| {
                changed(&|node| {
                    replace(&mut node.meta, loss);
                })
            }));
            all.extend(self.meta.replacement(1, HERE.0).map(|replacement| {
                let finish = FinishReplacement { group: 1, replica: replacement.replica };
                changed(&|node| {
                    node.meta.finish(&finish).expect("it is pending, or finished");
                })
            }));
            all
        }

        fn explore(&self, depth: u32) -> u32 {
            if let Some(held) = self.held {
                assert!(!self.dead.contains(&held), "{held} runs again after {} losses", self.losses);
                let given_up = self.meta.replacement(1, HERE.0).is_some_and(|it| it.lost.contains(&held.0));
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
        let start = Node { meta: meta(), losses: 0, held: None, dead: Vec::new(), sent: Vec::new() };
        let seen = start.explore(7);
        assert!(seen > 10_000, "only {seen} states");
    }

    #[test]
    fn what_may_be_made_follows_the_count_of_losses() {
        let mut meta = meta();
        let may = |meta: &Meta, losses| right_to_make(meta, 1, HERE, losses);
        assert_eq!((may(&meta, 0), may(&meta, 1)), (Some(ReplicaId(2)), None));
        let first = replace(&mut meta, 1);
        assert_eq!((may(&meta, 0), may(&meta, 1), may(&meta, 2)), (None, Some(first), None));
        let second = replace(&mut meta, 2);
        assert_eq!((may(&meta, 1), may(&meta, 2)), (None, Some(second)));
        meta.finish(&FinishReplacement { group: 1, replica: second.0 }).expect("it is pending");
        assert_eq!(may(&meta, 2), None, "it was made, so this directory has forgotten it");
        assert_eq!(right_to_make(&meta, 1, Incarnation(101), 0), Some(ReplicaId(1)), "of another node");
        assert_eq!(right_to_make(&meta, 1, Incarnation(7), 0), None, "not placed there");
    }
}
