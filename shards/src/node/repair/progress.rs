//! How far the lost replicas of a shard are replaced.

use kahuna_machine::Meta;
use kahuna_protocol::GroupId;

use super::may_create::may_create;
use crate::env::Env;
use crate::node::context::NodeContext;
use crate::node::open::GroupOpener;

/// The groups placed on a shard whose replicas are not replaced yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Groups without an id that may be used.
    pub lost: Vec<GroupId>,
    /// Groups with one that does not vote yet.
    pub joining: Vec<GroupId>,
}

impl Progress {
    /// The progress of the groups of this shard, as `meta` has it.
    pub fn of<E: Env>(cx: &NodeContext<E>, opener: &GroupOpener<E>, meta: &Meta) -> Self {
        let mut progress = Self::default();
        let incarnation = cx.shard.incarnation();
        for placement in meta.placements() {
            let group = placement.group;
            let here = placement.replicas.iter().any(|replica| replica.incarnation == incarnation);
            if !here || !cx.is_shard_of(group) {
                continue;
            }
            let held = opener.is_opened(group);
            let pending = meta.replacement(group, incarnation).is_some_and(|replacement| !replacement.finished);
            if !held && may_create(meta, group, incarnation, cx.losses()).is_none() {
                progress.lost.push(group);
            } else if pending {
                progress.joining.push(group);
            }
        }
        progress
    }

    /// Whether every lost replica is replaced.
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty() && self.joining.is_empty()
    }

    /// For the operator.
    pub fn describe(&self) -> String {
        let list = |groups: &[GroupId]| groups.iter().map(GroupId::to_string).collect::<Vec<_>>().join(", ");
        let joining = (!self.joining.is_empty()).then(|| format!("the other nodes feed {}", list(&self.joining)));
        let lost = (!self.lost.is_empty()).then(|| format!("waiting for their turn: {}", list(&self.lost)));
        let parts: Vec<String> = joining.into_iter().chain(lost).collect();
        format!("replacing the lost replicas of some groups; {}", parts.join("; "))
    }
}
