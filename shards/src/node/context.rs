//! What the acts of one shard of a node share.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use kahuna_machine::Meta;
use kahuna_protocol::{GroupId, ReplicaId, ShardId};
use kahuna_wal::LogOptions;

use super::manifest::Manifest;
use crate::config::NodeConfig;
use crate::env::Env;
use crate::env::local::Signal;
use crate::shard::Shard;

/// What founding, opening, repairing and draining need of a node on one of its shards.
pub struct NodeContext<E: Env> {
    pub shard: Rc<Shard<E>>,
    /// The disk of the data directory.
    pub disk: E::Disk,
    pub config: Arc<NodeConfig>,
    /// Notified when the shard's log is closed.
    pub log_closed: Signal,
    manifest: RefCell<Arc<Manifest>>,
    meta: RefCell<Option<Arc<Meta>>>,
    opened: Cell<bool>,
    stopping: Cell<bool>,
}

impl<E: Env> NodeContext<E> {
    /// The context of `shard`, whose log is not open yet.
    pub fn new(shard: Rc<Shard<E>>, disk: E::Disk, config: Arc<NodeConfig>, manifest: Arc<Manifest>) -> Self {
        Self {
            shard,
            disk,
            config,
            log_closed: Signal::default(),
            manifest: RefCell::new(manifest),
            meta: RefCell::default(),
            opened: Cell::new(false),
            stopping: Cell::new(false),
        }
    }

    pub fn manifest(&self) -> Arc<Manifest> {
        self.manifest.borrow().clone()
    }

    /// Replaces the manifest.
    pub fn set_manifest(&self, manifest: Arc<Manifest>) {
        *self.manifest.borrow_mut() = manifest;
    }

    /// How many losses the manifest counts.
    pub fn losses(&self) -> u32 {
        self.manifest.borrow().losses
    }

    /// The newest state of the meta group, once there is one.
    pub fn meta(&self) -> Option<Arc<Meta>> {
        self.meta.borrow().clone()
    }

    /// Replaces the state of the meta group.
    pub fn set_meta(&self, meta: Arc<Meta>) {
        *self.meta.borrow_mut() = Some(meta);
    }

    /// Whether the groups of the shard's log are open. Placements are followed only then.
    pub fn is_opened(&self) -> bool {
        self.opened.get()
    }

    /// The groups of the shard's log are open.
    pub fn set_opened(&self) {
        self.opened.set(true);
    }

    /// Whether the node stops.
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    pub fn set_stopping(&self) {
        self.stopping.set(true);
    }

    pub fn data_dir(&self) -> &Path {
        &self.config.data_dir
    }

    /// Whether this shard is the one for `group`.
    pub fn is_shard_of(&self, group: GroupId) -> bool {
        group.shard(self.config.shards) == self.shard.id()
    }

    /// The shard that counts losses, dials other nodes and founds the cluster.
    pub fn is_first_shard(&self) -> bool {
        self.shard.id() == ShardId(0)
    }

    /// The directory for the snapshots of a replica.
    pub fn snapshot_dir(&self, group: GroupId, replica: ReplicaId) -> PathBuf {
        Manifest::snapshot_dir(&self.config.data_dir, group, replica)
    }

    /// How logs are opened.
    pub fn log_options(&self) -> LogOptions {
        LogOptions { segment_bytes: self.config.segment_bytes, ..LogOptions::default() }
    }
}
