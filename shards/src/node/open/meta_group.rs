//! Opening the meta group, on the shard that owns it.

use std::rc::Rc;

use kahuna_protocol::GroupId;
use kahuna_protocol::meta::NodeInfo;

use super::group_opener::GroupOpener;
use crate::env::{Env, ExitCode};
use crate::node::context::NodeContext;
use crate::node::found::creation::Creation;
use crate::node::meta_duties::MetaDuties;
use crate::node::repair::Reseed;

/// Makes the meta group if the log does not know it, initialises it if that is this node's to do, and takes up its duties.
pub async fn open_meta_group<E: Env>(
    cx: &NodeContext<E>,
    opener: &Rc<GroupOpener<E>>,
    reseed: &Reseed<E>,
    info: NodeInfo,
) {
    let manifest = cx.manifest();
    let founding = manifest.founding.clone().expect("a log is opened only after the founding");
    let members = founding.members.clone();
    let Some(creation) = Creation::meta(members, founding.settings, cx.shard.incarnation()) else {
        E::abort(ExitCode::Bug, "the founding does not name this node");
    };
    if !opener.is_opened(GroupId::META) {
        if manifest.losses == 0 {
            opener.make(creation.clone()).await;
        } else if !reseed.replace_meta(&creation).await {
            return;
        }
    }
    // It is there, unless the node stops already.
    let Some(meta) = cx.shard.group(GroupId::META) else { return };
    let first = creation.members.first().is_some_and(|member| member.replica == meta.replica().id());
    if first && let Err(error) = meta.replica().initialize(&creation.voters()).await {
        if cx.is_stopping() {
            return;
        }
        E::abort(ExitCode::Bug, &format!("cannot initialise the meta group: {error}"));
    }
    let duties = MetaDuties { shard: cx.shard.clone(), meta, founding, info };
    E::spawn(duties.run());
}
