//! What every node does for and with the meta group: publish what it says, and tell it what it should know.
//!
//! ```text
//!   leading it, nothing placed yet ─▶ PlaceGroups          applied ─▶ every shard learns map, nodes, placements
//!   own addresses differ           ─▶ UpsertNode
//!   this node leads a group that is not marked led ─▶ SetLed
//! ```
//! Every command is safe to repeat, so each turn looks at the state and proposes what is still missing.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kahuna_machine::Meta;
use kahuna_protocol::meta::{NodeInfo, SetLed, UpsertNode};
use kahuna_protocol::{GroupId, Outcome, Request};

use super::manifest::Founding;
use super::placement::place_groups;
use crate::env::Env;
use crate::group::Group;
use crate::lanes::Control;
use crate::shard::Shard;

const PROPOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest pause between two looks: leaders of other groups come and go without news of the meta group.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The meta group's duties, on the shard that owns it.
pub struct Duties<E: Env> {
    /// That shard.
    pub shard: Rc<Shard<E>>,
    /// The meta group.
    pub meta: Rc<Group<E>>,
    /// What the cluster was made with.
    pub founding: Founding,
    /// This node, as the others shall know it.
    pub info: NodeInfo,
}

impl<E: Env> Duties<E> {
    /// Runs until the node drains.
    pub async fn run(self) {
        let mut published = None;
        while !self.shard.draining.get() {
            let version = self.meta.replica().machine().borrow().meta_version();
            if published != Some(version) {
                let view = Arc::new(self.meta.replica().machine().borrow().meta().clone());
                self.shard.lanes.broadcast(|| Control::Meta(view.clone()));
                published = Some(version);
            }
            let applied = self.meta.replica().applied_index();
            if let Some(command) = self.missing()
                && let Outcome::Error(error) = self.meta.system(&command, PROPOSE_TIMEOUT).await
            {
                crate::say!("node {}: the meta group: {} ({})", self.info.node, error.text, error.code());
                E::sleep(LOOK_EVERY).await;
            }
            E::timeout(LOOK_EVERY, self.meta.replica().applied_beyond(applied)).await;
        }
    }

    /// The first thing that the meta group should know and does not.
    fn missing(&self) -> Option<Request> {
        let machine = self.meta.replica().machine().borrow();
        let meta: &Meta = machine.meta();
        if meta.placements.is_empty() {
            return self.meta.replica().leader().leading.then(|| place_groups(&self.founding).into());
        }
        if !meta.nodes.contains(&self.info) {
            return Some(UpsertNode { info: self.info.clone() }.into());
        }
        let map = self.shard.map.borrow();
        let led_here = |group: u32| {
            let range = map.ranges.ranges.iter().find(|range| range.partition == group);
            range.is_some_and(|range| range.leader == self.info.node)
        };
        let unmarked = meta.placements.iter().find(|placement| !placement.led && led_here(placement.group));
        unmarked.map(|placement| SetLed { group: GroupId(placement.group).0 }.into())
    }
}
