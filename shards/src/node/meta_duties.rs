//! The duties of every node towards the meta group: publish its state to the shards, and propose what is missing in it.
//!
//! ```text
//!   leading it, nothing placed yet ─▶ PlaceGroups          applied ─▶ every shard learns map, nodes, placements
//!   own addresses differ           ─▶ UpsertNode
//!   this node leads groups that are not marked led ─▶ SetLed for each, at once: they share an entry of the log
//! ```
//! Every command is safe to repeat, so each pass looks at the state and proposes what is still missing.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kahuna_machine::Meta;
use kahuna_protocol::meta::{NodeInfo, SetLed, UpsertNode};
use kahuna_protocol::{GroupId, Outcome, Request};

use super::found::place_groups;
use crate::env::Env;
use crate::group::{Group, MAX_BATCH_COMMANDS};
use crate::lanes::{ClusterNews, Control};
use crate::manifest::founding::Founding;
use crate::shard::Shard;

const PROPOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest pause between two looks: leaders of other groups come and go without news of the meta group.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The meta group's duties, on the shard that owns it.
pub struct MetaDuties<E: Env> {
    /// That shard.
    pub shard: Rc<Shard<E>>,
    pub meta: Rc<Group<E>>,
    /// What the cluster was made with.
    pub founding: Founding,
    /// This node, as the others shall know it.
    pub info: NodeInfo,
}

impl<E: Env> MetaDuties<E> {
    /// Runs until the node drains.
    pub async fn run(self) {
        let mut published = None;
        while !self.shard.is_draining() {
            let version = self.meta.replica().machine().borrow().meta_version();
            if published != Some(version) {
                let view = Arc::new(self.meta.replica().machine().borrow().meta().clone());
                self.shard.lanes().broadcast(|| Control::Cluster(ClusterNews::Meta(view.clone())));
                published = Some(version);
            }
            let applied = self.meta.replica().applied_index();
            let proposed =
                self.missing().iter().map(|command| self.meta.system(command, PROPOSE_TIMEOUT)).collect::<Vec<_>>();
            let refused = |outcome| if let Outcome::Error(error) = outcome { Some(error) } else { None };
            if let Some(error) = join_all(proposed).await.into_iter().find_map(refused) {
                crate::say!("node {}: the meta group: {} ({})", self.info.node, error.text, error.code());
                E::sleep(LOOK_EVERY).await;
            }
            E::timeout(LOOK_EVERY, self.meta.replica().applied_beyond(applied)).await;
        }
    }

    /// The first things that the meta group should know and does not; those that are all missing at once share a batch.
    fn missing(&self) -> Vec<Request> {
        let machine = self.meta.replica().machine().borrow();
        let meta: &Meta = machine.meta();
        if !meta.is_placed() {
            let leads = self.meta.replica().leader().leading;
            return leads.then(|| place_groups(&self.founding).into()).into_iter().collect();
        }
        if !meta.nodes().any(|info| *info == self.info) {
            return vec![UpsertNode { info: self.info.clone() }.into()];
        }
        // The map of the meta group names no leaders: who leads is known from the groups themselves.
        let led_here = |group: GroupId| self.shard.view().leader_of(group) == Some(self.info.node);
        let unmarked = meta.placements().filter(|placement| !placement.led && led_here(placement.group));
        let marks = unmarked.map(|placement| SetLed { group: placement.group }.into());
        marks.take(MAX_BATCH_COMMANDS as usize).collect()
    }
}
