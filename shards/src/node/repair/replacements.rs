//! What a shard does for other nodes whose replicas were lost: the groups that it leads take the new ones in.
//!
//! The meta group says which replacements are pending; [`Replica::carry_out`](crate::raft::Replica::carry_out) knows the
//! next step of each. Every pass starts from the meta group's state, so a new leader continues where the last one stopped.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::meta::{FinishReplacement, Replacement};
use kahuna_protocol::{GroupId, Outcome, ReplicaId};

use crate::env::{Env, until_mark};
use crate::group::Group;
use crate::node::context::NodeContext;
use crate::raft::Step;

/// Between two looks for replacements of groups that are led here, while there are some and while there are none.
const LOOK_EVERY: Duration = Duration::from_millis(25);
const IDLE_LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a pass waits for a step. A step without a quorum continues in the background, and ends when there is one.
const STEP_LIMIT: Duration = Duration::from_secs(1);

/// Runs until the node stops. The replacements go on side by side: one that finds no quorum holds up no other one.
pub async fn carry_out_replacements<E: Env>(cx: Rc<NodeContext<E>>) {
    let under_way = Rc::<RefCell<BTreeSet<(GroupId, ReplicaId)>>>::default();
    let mut pause = IDLE_LOOK_EVERY;
    while !cx.is_stopping() {
        E::sleep(until_mark(E::boot_clock(), std::mem::replace(&mut pause, IDLE_LOOK_EVERY))).await;
        let Some(meta) = cx.meta() else { continue };
        for replacement in meta.replacements().filter(|replacement| !replacement.finished) {
            let Some(group) = cx.shard.group(replacement.group) else { continue };
            if !group.replica().leader().leading {
                continue;
            }
            pause = LOOK_EVERY;
            let key = (replacement.group, replacement.replica);
            if under_way.borrow_mut().insert(key) {
                let (cx, replacement, under_way) = (cx.clone(), replacement.clone(), under_way.clone());
                E::spawn(async move {
                    carry_out_step(&cx, &group, &replacement).await;
                    under_way.borrow_mut().remove(&key);
                });
            }
        }
    }
}

/// Takes the next step of a replacement in a group that is led here; reports the replacement to the meta group when no step
/// is left.
async fn carry_out_step<E: Env>(cx: &NodeContext<E>, group: &Group<E>, replacement: &Replacement) {
    if E::timeout(STEP_LIMIT, group.replica().carry_out(replacement)).await != Some(Step::Done) {
        return;
    }
    let finish = FinishReplacement { group: replacement.group, replica: replacement.replica };
    // The next pass repeats a report that failed.
    if let Outcome::Error(error) = cx.shard.system(GroupId::META, &finish.into(), STEP_LIMIT).await {
        crate::say!("{}: replica {}: {}", group.id(), replacement.replica, error.text);
    }
}
