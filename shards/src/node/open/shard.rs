//! Opening a shard: its log, the groups in it, and the tasks that begin then.

use std::rc::Rc;
use std::sync::Arc;

use kahuna_protocol::GroupId;
use kahuna_protocol::meta::NodeInfo;
use kahuna_wal::{Log, LogError};

use super::group_opener::GroupOpener;
use super::log::OPENING;
use super::meta_group::open_meta_group;
use super::placements::follow_placements;
use super::remedy::way_out;
use crate::env::{Env, ExitCode};
use crate::node::context::NodeContext;
use crate::node::found::creation::Creation;
use crate::node::hand_over::prefer_leaders;
use crate::node::log_maintenance::run_log_maintenance;
use crate::node::manifest::Manifest;
use crate::node::repair::{Reseed, carry_out_replacements, open_or_replace_log};

/// Opens the log and every replica in it.
pub async fn open_shard<E: Env>(
    cx: Rc<NodeContext<E>>,
    opener: Rc<GroupOpener<E>>,
    info: NodeInfo,
    manifest: Arc<Manifest>,
) {
    let shard = cx.shard.clone();
    shard.set_waiting(OPENING);
    let (log, recovered) = open_or_replace_log(&cx, &manifest).await;
    if recovered.report.torn {
        crate::say!("shard {}: the log ended in an unfinished write, which was cut off", shard.id());
    }
    if !recovered.report.strays.is_empty() {
        let (id, dir) = (shard.id(), manifest.log_dir(cx.data_dir(), shard.id()));
        let strays = recovered.report.strays.join(", ");
        crate::say!("shard {id}: {} holds files that are not the log's, left alone: {strays}", dir.display());
    }
    // Before any group can be made.
    opener.reserve(recovered.groups.keys().map(|&group| GroupId(group)));
    shard.set_log(log.clone());
    E::spawn(write_log(cx.clone(), log.clone()));
    E::spawn(run_log_maintenance(cx.clone(), log.clone()));
    for (group, content) in recovered.groups {
        let unusable = |what: &str| -> ! {
            let way = way_out(&manifest, cx.data_dir(), shard.id());
            E::abort(ExitCode::DataDamaged, &format!("the log of shard {}: group {group}{what}; {way}", shard.id()))
        };
        let Some(created) = &content.created else { unusable(" has records but was never made") };
        match Creation::decode(created) {
            Ok(creation) => opener.open(&log, creation, content).await,
            Err(error) => unusable(&format!(": {error}")),
        }
    }
    let reseed = Reseed::new(cx.clone(), opener.clone());
    if cx.is_shard_of(GroupId::META) {
        open_meta_group(&cx, &opener, &reseed, info).await;
    }
    cx.set_opened();
    // If something was lost, there is more to wait for: it is reported next.
    if cx.losses() == 0 {
        shard.set_waiting("");
    }
    if let Some(meta) = cx.meta() {
        E::spawn(follow_placements(cx.clone(), opener, meta));
    }
    E::spawn(reseed.run());
    E::spawn(carry_out_replacements(cx.clone()));
    E::spawn(prefer_leaders(cx));
}

/// Runs until the log is closed; a disk that fails ends the process.
async fn write_log<E: Env>(cx: Rc<NodeContext<E>>, log: Log<E::Disk>) {
    match log.run().await {
        // On a full disk a stop leaves out what could not be written, and was not acknowledged.
        Ok(()) | Err(LogError::Closed) => {}
        Err(error) => E::abort(ExitCode::DiskFailed, &format!("the log of shard {}: {error}", cx.shard.id())),
    }
    cx.log_closed.notify();
}
