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

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use kahuna_protocol::{GroupId, ShardId};
use kahuna_wal::{Log, LogError, LogOptions, Record, Recovered};
use openraft::rt::Mutex as _;

use super::groups::{exit_code_of, log_identity, remedy};
use super::manifest::Manifest;
use super::runner::Runner;
use crate::env::{Env, ExitCode};
use crate::lanes::{Control, LifeNews};

/// Makes the empty log of one shard, durably.
///
/// # Errors
/// What to say, and how the process ends.
pub async fn make_log<E: Env>(
    disk: &E::Disk,
    data_dir: &Path,
    manifest: &Manifest,
    shard: u16,
    options: LogOptions,
) -> Result<(), (ExitCode, String)> {
    let identity = log_identity(manifest, shard);
    let failed = |code, error: &dyn std::fmt::Display| (code, format!("cannot make the log of shard {shard}: {error}"));
    let opened = Log::open(disk.clone(), &manifest.log_dir(data_dir, shard), identity, options).await;
    let (log, _) = opened.map_err(|error| failed(exit_code_of(&error), &error))?;
    log.close();
    log.run().await.map_err(|error| failed(ExitCode::DiskFailed, &error))
}

/// Whether nothing that the log held can be trusted any more.
fn is_lost(error: &kahuna_wal::OpenError) -> bool {
    matches!(error, kahuna_wal::OpenError::Corrupt { .. } | kahuna_wal::OpenError::Missing { .. })
}

impl<E: Env> Runner<E> {
    /// Opens the shard's log, or an empty one in the place of a lost one.
    pub(super) async fn open_or_replace_log(&self, manifest: &Manifest) -> (Log<E::Disk>, Recovered) {
        let error = match self.try_open_log(manifest).await {
            Ok(opened) => return opened,
            Err(error) => error,
        };
        if is_lost(&error) {
            let manifest = self.give_up(Some(self.shard.id()), &format!("the log cannot be used: {error}")).await;
            match self.try_open_log(&manifest).await {
                Ok(opened) => return opened,
                Err(error) => E::abort(exit_code_of(&error), &format!("cannot open the empty log: {error}")),
            }
        }
        let remedy = remedy(&error, manifest, &self.config.data_dir, self.shard.id().0);
        E::abort(exit_code_of(&error), &format!("cannot open the log: {error}{remedy}"))
    }

    async fn try_open_log(&self, manifest: &Manifest) -> Result<(Log<E::Disk>, Recovered), kahuna_wal::OpenError> {
        let dir = manifest.log_dir(&self.config.data_dir, self.shard.id().0);
        let identity = log_identity(manifest, self.shard.id().0);
        let options = LogOptions { create: false, ..self.log_options() };
        Log::open(self.disk.clone(), &dir, identity, options).await
    }

    /// Gives up the replica of a group whose snapshot is lost: its log is of no use without it.
    pub(super) async fn give_up_group(&self, log: &Log<E::Disk>, group: GroupId, why: &str) {
        self.give_up(None, why).await;
        // Only now: an id that the log does not know may be made under the old count.
        match log.append_durable(group.0, vec![Record::GroupDestroyed]).await {
            Ok(()) => drop(self.made.borrow_mut().remove(&group)),
            // The node stops; the next start finds the loss again.
            Err(LogError::Closed) => {}
            Err(error) => E::abort(ExitCode::DiskFailed, &format!("the log of shard {}: {error}", self.shard.id())),
        }
    }

    /// Has the loss of a log, or of a snapshot, counted; returns the manifest that says so, which is durable then. Ends the
    /// process of a node that is alone: nobody could feed it.
    async fn give_up(&self, log_of: Option<ShardId>, why: &str) -> Arc<Manifest> {
        let dir = self.config.data_dir.display();
        let members = self.manifest.borrow().founding.as_ref().map_or(0, |founding| founding.members.len());
        if members < 2 {
            let text = format!(
                "{why}. This node is the whole cluster: no other one holds its data. `kahuna recover --data-dir {dir}` \
                 keeps what can still be read, and says what is lost"
            );
            E::abort(ExitCode::DataDamaged, &text);
        }
        let what = if log_of.is_some() { "every group of this log" } else { "this group" };
        crate::say!("shard {}: {why}. The other nodes feed {what} again, each under a new replica", self.shard.id());
        let (counted, count) = flume::bounded(1);
        self.shard.lanes().control(ShardId(0), Control::Life(LifeNews::Lost { log_of, counted }));
        match count.recv_async().await {
            Ok(manifest) => manifest,
            // Shard 0 stopped: so does this one, and the next start finds the loss again.
            Err(_) => std::future::pending().await,
        }
    }

    /// Shard 0: counts a loss.
    pub(super) async fn count_loss(self: Rc<Self>, log_of: Option<ShardId>, counted: flume::Sender<Arc<Manifest>>) {
        let _turn = self.counting.lock().await;
        let manifest = self.manifest.borrow().after_loss(log_of.map(|shard| shard.0));
        let data_dir = &self.config.data_dir;
        if let Some(shard) = log_of
            && let Err((code, text)) = make_log::<E>(&self.disk, data_dir, &manifest, shard.0, self.log_options()).await
        {
            E::abort(code, &text);
        }
        if let Err(error) = manifest.write(&self.disk, data_dir).await {
            E::abort(ExitCode::DiskFailed, &format!("cannot count a lost log: {error}"));
        }
        let manifest = Arc::new(manifest);
        *self.manifest.borrow_mut() = manifest.clone();
        self.shard.lanes().broadcast(|| Control::Life(LifeNews::Manifest(manifest.clone())));
        // Whoever found it may stop already.
        let _ = counted.send(manifest);
    }
}
