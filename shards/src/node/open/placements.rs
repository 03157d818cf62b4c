//! Following the placements of the meta group: which groups this shard makes, and which it initialises.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use kahuna_machine::Meta;
use kahuna_protocol::GroupId;

use super::group_opener::GroupOpener;
use crate::env::{Env, ExitCode};
use crate::node::context::NodeContext;
use crate::node::found::creation::Creation;
use crate::node::repair::{initializes_group, may_create, taken_place};

/// Makes the groups that are placed here and may be made, and initialises those that are this node's to initialise.
pub async fn follow_placements<E: Env>(cx: Rc<NodeContext<E>>, opener: Rc<GroupOpener<E>>, meta: Arc<Meta>) {
    let incarnation = cx.shard.incarnation();
    let ranges: BTreeMap<GroupId, usize> = meta.map().ranges.iter().map(|range| range.partition).zip(0..).collect();
    for placement in meta.placements() {
        let id = placement.group;
        if !cx.is_shard_of(id) || cx.is_stopping() {
            continue;
        }
        abort_if_replaced(&cx, &meta, id);
        let creation =
            ranges.get(&id).and_then(|&at| Creation::data(meta.map(), at, placement, *meta.settings(), incarnation));
        let Some(creation) = creation else { continue };
        let (placed, voters) = (creation.replica, creation.voters());
        if let Some(replica) = may_create(&meta, id, incarnation, cx.losses()) {
            opener.make(Creation { replica, ..creation }).await;
        }
        if let (true, Some(group)) = (initializes_group(&meta, id, incarnation), cx.shard.group(id))
            && group.replica().id() == placed
            && let Err(error) = group.replica().initialize(&voters).await
        {
            crate::say!("group {}: cannot be initialised: {error}", group.id());
        }
    }
}

/// Ends the process if a replica that runs here was given up: the directory is an old copy.
fn abort_if_replaced<E: Env>(cx: &NodeContext<E>, meta: &Meta, group: GroupId) {
    let Some(replica) = cx.shard.group(group).map(|group| group.replica().id()) else { return };
    if let Some(replacement) = taken_place(meta, group, cx.shard.incarnation(), replica) {
        let text = format!(
            "{}: {group}: replica {replica} was given up when its log was lost, and replica {} took its place. This is \
             an old copy of the data directory: it must not run",
            cx.data_dir().display(),
            replacement.replica
        );
        E::abort(ExitCode::DataDamaged, &text);
    }
}
