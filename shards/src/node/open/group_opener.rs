//! The groups of one shard: made once, opened at every start.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::GroupId;
use kahuna_wal::{Disk, GroupLog, Log, LogError, Record, cannot_open};

use super::remedy::{is_full, way_out};
use crate::env::{Env, ExitCode};
use crate::group::Group;
use crate::node::context::NodeContext;
use crate::node::found::creation::Creation;
use crate::node::repair::report_loss;
use crate::raft::{Campaigns, Heartbeats, OpenError, Replica, ReplicaContext};

/// Between two attempts to make a directory on a disk without room.
const RETRY_EVERY: Duration = Duration::from_millis(100);
/// How much later than the longest election timeout a restarted node votes again: the rates of two clocks differ.
const BOOT_MARGIN: Duration = Duration::from_millis(50);

/// Makes and opens the replicas of one shard.
pub struct GroupOpener<E: Env> {
    cx: Rc<NodeContext<E>>,
    /// When the shard was started, as time since boot.
    booted: Duration,
    heartbeats: Rc<Heartbeats<E>>,
    campaigns: Rc<Campaigns<E>>,
    /// Groups whose replicas are open or being opened.
    opened: RefCell<BTreeSet<GroupId>>,
}

impl<E: Env> GroupOpener<E> {
    /// No groups yet.
    pub fn new(cx: Rc<NodeContext<E>>) -> Self {
        let heartbeats = Heartbeats::new(cx.config.timing.heartbeat);
        Self { cx, booted: E::boot_clock(), heartbeats, campaigns: Rc::default(), opened: RefCell::default() }
    }

    /// Whether the replica of `group` is open or being opened.
    pub fn is_opened(&self, group: GroupId) -> bool {
        self.opened.borrow().contains(&group)
    }

    /// Reserves the groups that the log knows: one of them must not be made again, it would forget its votes.
    pub fn reserve(&self, groups: impl Iterator<Item = GroupId>) {
        self.opened.borrow_mut().extend(groups);
    }

    /// Makes a group that the log does not know yet; does nothing for one it knows.
    pub async fn make(&self, creation: Creation) {
        let log = self.cx.shard.log();
        let Some(log) = log else { return };
        if !self.opened.borrow_mut().insert(creation.group) {
            return;
        }
        // Before the log knows the group: a start that finds it there must not need room to open it.
        if !self.make_snapshot_dir(&creation).await {
            return;
        }
        let created = Record::GroupCreated(creation.encode());
        match log.append_durable(creation.group.0, vec![created]).await {
            Ok(()) => {}
            // The node stops; the next start makes the group.
            Err(LogError::Closed) => return,
            Err(error) => self.abort(&error),
        }
        self.open(&log, creation, GroupLog::default()).await;
    }

    /// Makes the directory of a group's snapshots; waits while the disk has no room for it. False if the node stops before.
    async fn make_snapshot_dir(&self, creation: &Creation) -> bool {
        let dir = self.cx.snapshot_dir(creation.group, creation.replica);
        let mut told = false;
        while !self.cx.is_stopping() {
            match self.cx.disk.create_dir_all(&dir).await {
                Ok(()) => return true,
                Err(error) if is_full(&error) || cannot_open(&error) => {
                    if !std::mem::replace(&mut told, true) {
                        let (group, dir) = (creation.group, dir.display());
                        crate::say!("{group}: {dir}: {error}: it is made once that passes");
                    }
                }
                Err(error) => E::abort(ExitCode::DiskFailed, &format!("{}: {error}", dir.display())),
            }
            E::sleep(RETRY_EVERY).await;
        }
        false
    }

    /// Opens the replica that `creation` describes with `content`, which `log` holds of it.
    pub async fn open(&self, log: &Log<E::Disk>, creation: Creation, content: GroupLog) {
        let (cx, group) = (&self.cx, creation.group);
        let context = ReplicaContext {
            log: log.clone(),
            disk: cx.disk.clone(),
            snapshot_dir: cx.snapshot_dir(group, creation.replica),
            peers: cx.shard.peers().clone(),
            clock: cx.shard.clock().clone(),
            timing: cx.config.timing,
            boot_deadline: self.booted + cx.config.timing.election_max + BOOT_MARGIN,
            snapshot_log_bytes: cx.config.snapshot_log_bytes,
            incarnation: cx.shard.incarnation(),
            heartbeats: self.heartbeats.clone(),
            campaigns: self.campaigns.clone(),
        };
        let opened = Replica::open(context, group, creation.replica, creation.machine(), content).await;
        match opened {
            Ok(replica) => cx.shard.insert_group(Group::new(group, replica, cx.shard.group_context())),
            Err(error @ OpenError::SnapshotLost { .. }) => self.give_up(log, group, &error.to_string()).await,
            Err(error @ OpenError::Log { .. }) => {
                let way = way_out(&cx.manifest(), cx.data_dir(), cx.shard.id());
                E::abort(error.exit_code(), &format!("cannot open group {group}: {error}; {way}"));
            }
            Err(error) => E::abort(error.exit_code(), &format!("cannot open group {group}: {error}")),
        }
    }

    /// Gives up the replica of a group whose snapshot is lost: its log is of no use without it.
    async fn give_up(&self, log: &Log<E::Disk>, group: GroupId, why: &str) {
        report_loss(&self.cx, None, why).await;
        // Only now: an id that the log does not know may be made under the old count.
        match log.append_durable(group.0, vec![Record::GroupDestroyed]).await {
            Ok(()) => drop(self.opened.borrow_mut().remove(&group)),
            // The node stops; the next start finds the loss again.
            Err(LogError::Closed) => {}
            Err(error) => self.abort(&error),
        }
    }

    fn abort(&self, error: &LogError) -> ! {
        E::abort(ExitCode::DiskFailed, &format!("the log of shard {}: {error}", self.cx.shard.id()))
    }
}
