//! A log or a snapshot is lost: it is counted before anything takes its place.
//!
//! ```text
//!   any shard   finds its log damaged or gone, or a group's snapshot ─▶ Lost
//!   shard 0     makes an empty log, then writes the manifest: the count, and the name of that log, in one
//!               ─▶ Manifest to all shards, and the answer
//!   that shard  opens the empty log, or writes down that the group's replica is destroyed
//! ```
//! Killed anywhere before the manifest is written, the next start finds the same loss; killed after it, either all is done,
//! or a snapshot is found lost once more. A loss that is counted twice harms nothing.

use std::rc::Rc;
use std::sync::Arc;

use kahuna_protocol::ShardId;
use kahuna_wal::{Log, LogOpenError, LogOptions, Recovered};
use openraft::rt::Mutex as _;

use crate::env::local::LocalMutex;
use crate::env::{Env, ExitCode};
use crate::lanes::{Control, LifeNews};
use crate::node::context::NodeContext;
use crate::node::manifest::Manifest;
use crate::node::open::{exit_code_of, log_identity, make_log, remedy};

/// Whether nothing that the log held can be trusted any more.
fn is_lost(error: &LogOpenError) -> bool {
    matches!(error, LogOpenError::Corrupt { .. } | LogOpenError::Missing { .. })
}

/// Opens the shard's log, or an empty one in the place of a lost one.
pub async fn open_or_replace_log<E: Env>(cx: &NodeContext<E>, manifest: &Manifest) -> (Log<E::Disk>, Recovered) {
    let error = match try_open_log(cx, manifest).await {
        Ok(opened) => return opened,
        Err(error) => error,
    };
    if is_lost(&error) {
        let manifest = report_loss(cx, Some(cx.shard.id()), &format!("the log cannot be used: {error}")).await;
        match try_open_log(cx, &manifest).await {
            Ok(opened) => return opened,
            Err(error) => E::abort(exit_code_of(&error), &format!("cannot open the empty log: {error}")),
        }
    }
    let remedy = remedy(&error, manifest, cx.data_dir(), cx.shard.id());
    E::abort(exit_code_of(&error), &format!("cannot open the log: {error}{remedy}"))
}

async fn try_open_log<E: Env>(
    cx: &NodeContext<E>,
    manifest: &Manifest,
) -> Result<(Log<E::Disk>, Recovered), LogOpenError> {
    let dir = manifest.log_dir(cx.data_dir(), cx.shard.id());
    let identity = log_identity(manifest, cx.shard.id());
    let options = LogOptions { create: false, ..cx.log_options() };
    Log::open(cx.disk.clone(), &dir, identity, options).await
}

/// Reports the loss of a log, or of a snapshot if there is no `log_of`, to shard 0, which counts it; returns the manifest
/// with the new count, durable then. Ends the process of a node that is alone: no other node could restore its data.
pub async fn report_loss<E: Env>(cx: &NodeContext<E>, log_of: Option<ShardId>, why: &str) -> Arc<Manifest> {
    let dir = cx.data_dir().display();
    let members = cx.manifest().founding.as_ref().map_or(0, |founding| founding.members.len());
    if members < 2 {
        let text = format!(
            "{why}. This node is the whole cluster: no other one holds its data. `kahuna recover --data-dir {dir}` \
             keeps what can still be read, and says what is lost"
        );
        E::abort(ExitCode::DataDamaged, &text);
    }
    let what = if log_of.is_some() { "every group of this log" } else { "this group" };
    crate::say!("shard {}: {why}. The other nodes feed {what} again, each under a new replica", cx.shard.id());
    let (counted, count) = flume::bounded(1);
    cx.shard.lanes().control(ShardId(0), Control::Life(LifeNews::Lost { log_of, counted }));
    match E::across_threads(count.recv_async()).await {
        Ok(manifest) => manifest,
        // Shard 0 stopped: so does this one, and the next start finds the loss again.
        Err(_) => std::future::pending().await,
    }
}

/// Counts losses in the manifest, on shard 0.
pub struct LossCounter<E: Env> {
    cx: Rc<NodeContext<E>>,
    /// Held while a loss is counted.
    counting: LocalMutex<()>,
}

impl<E: Env> LossCounter<E> {
    /// Counts for the node of `cx`.
    pub fn new(cx: Rc<NodeContext<E>>) -> Self {
        Self { cx, counting: LocalMutex::new(()) }
    }

    /// Counts a loss.
    pub async fn count(self: Rc<Self>, log_of: Option<ShardId>, counted: flume::Sender<Arc<Manifest>>) {
        let _turn = self.counting.lock().await;
        let manifest = self.cx.manifest().after_loss(log_of);
        let data_dir = self.cx.data_dir();
        if let Some(shard) = log_of
            && let Err((code, text)) =
                make_log::<E>(&self.cx.disk, data_dir, &manifest, shard, self.cx.log_options()).await
        {
            E::abort(code, &text);
        }
        if let Err(error) = manifest.write(&self.cx.disk, data_dir).await {
            E::abort(ExitCode::DiskFailed, &format!("cannot count a lost log: {error}"));
        }
        let manifest = Arc::new(manifest);
        self.cx.set_manifest(manifest.clone());
        self.cx.shard.lanes().broadcast(|| Control::Life(LifeNews::Manifest(manifest.clone())));
        // The shard that found the loss may be stopping.
        let _ = counted.send(manifest);
    }
}
