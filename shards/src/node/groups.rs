//! The log of a shard and the groups in it: opened at the start, made when they are placed here, kept short.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kahuna_machine::Meta;
use kahuna_protocol::{GroupId, ReplicaId};
use kahuna_wal::{Disk, GroupLog, Log, LogError, LogIdentity, LogOptions, OpenError, Record, Space, cannot_open};

use super::creation::Creation;
use super::duties::Duties;
use super::manifest::Manifest;
use super::reseed::begins;
use super::runner::Runner;
use crate::env::{Env, ExitCode};
use crate::group::Group;
use crate::raft::{OpenError as ReplicaError, Replica, ReplicaContext};

/// What a shard waits for until its log and the groups in it are there.
pub const OPENING: &str = "opening its logs";
/// Between two looks at the log's idleness and at the groups that pin it.
const LOG_CARE_EVERY: Duration = Duration::from_millis(100);
/// How many segments behind the newest a group's oldest entry may be while the disk is full.
const SHORT_LAG: u64 = 1;
/// How much later than the longest election timeout a restarted node votes again: the rates of two clocks differ.
const BOOT_MARGIN: Duration = Duration::from_millis(50);

impl<E: Env> Runner<E> {
    pub(super) fn log_options(&self) -> LogOptions {
        LogOptions { segment_bytes: self.config.segment_bytes, ..LogOptions::default() }
    }

    /// Opens the log and every replica in it.
    pub(super) async fn open_log(self: Rc<Self>, manifest: Arc<Manifest>) {
        self.shard.set_waiting(OPENING);
        let (log, recovered) = self.open_or_replace_log(&manifest).await;
        if recovered.report.torn {
            crate::say!("shard {}: the log ended in an unfinished write, which was cut off", self.shard.id());
        }
        if !recovered.report.strays.is_empty() {
            let (id, dir) = (self.shard.id(), manifest.log_dir(&self.config.data_dir, self.shard.id().0));
            let strays = recovered.report.strays.join(", ");
            crate::say!("shard {id}: {} holds files that are not the log's, left alone: {strays}", dir.display());
        }
        // Before anybody can make a group: one that the log knows must not be made again, it would forget its votes.
        self.made.borrow_mut().extend(recovered.groups.keys().map(|&group| GroupId(group)));
        self.shard.set_log(log.clone());
        let runner = self.clone();
        let writer = log.clone();
        E::spawn(async move {
            match writer.run().await {
                // On a full disk a stop leaves out what could not be written, and was not acknowledged.
                Ok(()) | Err(LogError::Closed) => {}
                Err(error) => {
                    E::abort(ExitCode::DiskFailed, &format!("the log of shard {}: {error}", runner.shard.id()))
                }
            }
            runner.log_closed.notify();
        });
        E::spawn(self.clone().care_for_log(log.clone()));
        for (group, content) in recovered.groups {
            let Some(created) = &content.created else {
                let way = way_out(&manifest, &self.config.data_dir, self.shard.id().0);
                let text =
                    format!("the log of shard {}: group {group} has records but was never made", self.shard.id());
                E::abort(ExitCode::DataDamaged, &format!("{text}; {way}"));
            };
            match Creation::decode(created) {
                Ok(creation) => self.open_group(&log, creation, content).await,
                Err(error) => {
                    let way = way_out(&manifest, &self.config.data_dir, self.shard.id().0);
                    let text = format!("the log of shard {}: group {group}: {error}", self.shard.id());
                    E::abort(ExitCode::DataDamaged, &format!("{text}; {way}"));
                }
            }
        }
        if self.shard.id() == GroupId::META.shard(self.config.shards) {
            self.start_meta().await;
        }
        self.opened.set(true);
        // If something was lost, there is more to wait for: it is said next.
        if self.manifest.borrow().losses == 0 {
            self.shard.set_waiting("");
        }
        let meta = self.meta.borrow().clone();
        if let Some(meta) = meta {
            E::spawn(self.clone().follow_placements(meta));
        }
        E::spawn(self.clone().reseed());
        E::spawn(self.clone().carry_out_replacements());
        E::spawn(self.prefer_leaders());
    }

    async fn start_meta(self: &Rc<Self>) {
        let manifest = self.manifest.borrow().clone();
        let founding = manifest.founding.clone().expect("a log is opened only after the founding");
        let members = founding.members.clone();
        let Some(creation) = Creation::meta(members, founding.settings, self.shard.incarnation()) else {
            E::abort(ExitCode::Bug, "the founding does not name this node");
        };
        if !self.made.borrow().contains(&GroupId::META) {
            if manifest.losses == 0 {
                self.make_group(creation.clone()).await;
            } else if !self.reseed_meta(&creation).await {
                return;
            }
        }
        // It is there, unless the node stops already.
        let Some(meta) = self.shard.group(GroupId::META) else { return };
        let first = creation.members.first().is_some_and(|member| ReplicaId(member.replica) == meta.replica().id());
        if first && let Err(error) = meta.replica().initialize(&creation.voters()).await {
            if self.stopping.get() {
                return;
            }
            E::abort(ExitCode::Bug, &format!("cannot initialise the meta group: {error}"));
        }
        let duties = Duties { shard: self.shard.clone(), meta, founding, info: self.info.clone() };
        E::spawn(duties.run());
    }

    /// Makes a group that the log does not know yet; does nothing for one it knows.
    pub(super) async fn make_group(&self, creation: Creation) {
        let log = self.shard.log();
        let Some(log) = log else { return };
        if !self.made.borrow_mut().insert(creation.group()) {
            return;
        }
        // Before the log knows the group: a start that finds it there must not need room to open it.
        if !self.make_snapshot_dir(&creation).await {
            return;
        }
        let created = Record::GroupCreated(creation.encode());
        match log.append_durable(creation.group().0, vec![created]).await {
            Ok(()) => {}
            // The node stops; the next start makes the group.
            Err(LogError::Closed) => return,
            Err(error) => E::abort(ExitCode::DiskFailed, &format!("the log of shard {}: {error}", self.shard.id())),
        }
        self.open_group(&log, creation, GroupLog::default()).await;
    }

    /// Makes the directory of a group's snapshots; waits while the disk has no room for it. False if the node stops before.
    async fn make_snapshot_dir(&self, creation: &Creation) -> bool {
        let dir = self.snapshot_dir(creation);
        let mut told = false;
        while !self.stopping.get() {
            match self.disk.create_dir_all(&dir).await {
                Ok(()) => return true,
                Err(error) if is_full(&error) || cannot_open(&error) => {
                    if !std::mem::replace(&mut told, true) {
                        let (group, dir) = (creation.group(), dir.display());
                        crate::say!("{group}: {dir}: {error}: it is made once that passes");
                    }
                }
                Err(error) => E::abort(ExitCode::DiskFailed, &format!("{}: {error}", dir.display())),
            }
            E::sleep(LOG_CARE_EVERY).await;
        }
        false
    }

    async fn open_group(&self, log: &Log<E::Disk>, creation: Creation, content: GroupLog) {
        let group = creation.group();
        let context = ReplicaContext {
            log: log.clone(),
            disk: self.disk.clone(),
            snapshot_dir: self.snapshot_dir(&creation),
            peers: self.shard.peers().clone(),
            clock: self.shard.clock().clone(),
            timing: self.config.timing,
            boot_deadline: self.booted + self.config.timing.election_max + BOOT_MARGIN,
            snapshot_log_bytes: self.config.snapshot_log_bytes,
            incarnation: self.shard.incarnation(),
        };
        let opened = Replica::open(context, group, creation.replica(), creation.machine(), content).await;
        match opened {
            Ok(replica) => self.shard.insert_group(Group::new(group, replica, self.shard.group_context())),
            Err(error @ ReplicaError::SnapshotLost { .. }) => self.give_up_group(log, group, &error.to_string()).await,
            Err(error @ ReplicaError::Log { .. }) => {
                let manifest = self.manifest.borrow().clone();
                let way = way_out(&manifest, &self.config.data_dir, self.shard.id().0);
                E::abort(error.exit_code(), &format!("cannot open group {group}: {error}; {way}"));
            }
            Err(error) => E::abort(error.exit_code(), &format!("cannot open group {group}: {error}")),
        }
    }

    fn snapshot_dir(&self, creation: &Creation) -> PathBuf {
        Manifest::snapshot_dir(&self.config.data_dir, creation.group, creation.replica)
    }

    /// Makes the groups that are placed here and may be made, and initialises those that are this node's to initialise.
    pub(super) async fn follow_placements(self: Rc<Self>, meta: Arc<Meta>) {
        let incarnation = self.shard.incarnation();
        let ranges: BTreeMap<u32, usize> = meta.map.ranges.iter().map(|range| range.partition).zip(0..).collect();
        for placement in &meta.placements {
            let id = GroupId(placement.group);
            if id.shard(self.config.shards) != self.shard.id() || self.stopping.get() {
                continue;
            }
            self.refuse_the_dead(&meta, id);
            let creation = ranges
                .get(&placement.group)
                .and_then(|&at| Creation::data(&meta.map, at, placement, meta.settings, incarnation));
            let Some(creation) = creation else { continue };
            let (placed, voters) = (creation.replica(), creation.voters());
            if let Some(ReplicaId(replica)) = self.right_to_make(&meta, id) {
                self.make_group(Creation { replica, ..creation }).await;
            }
            if let (true, Some(group)) = (begins(&meta, id.0, incarnation), self.shard.group(id))
                && group.replica().id() == placed
                && let Err(error) = group.replica().initialize(&voters).await
            {
                crate::say!("group {}: cannot be initialised: {error}", group.id());
            }
        }
    }

    /// Seals the log when it is idle, asks a full disk for room again, and asks groups that hold the log's oldest segments
    /// for a snapshot.
    async fn care_for_log(self: Rc<Self>, log: Log<E::Disk>) {
        let mut space = Space::Plenty;
        while !self.stopping.get() {
            E::sleep(LOG_CARE_EVERY).await;
            log.seal_if_idle();
            log.retry_allocation();
            let now = log.space();
            if now != space {
                self.tell_space(now, &log.refusal());
                space = now;
            }
            let pinned = log.pinned();
            let newest = pinned.iter().map(|(_, segment)| *segment).max().unwrap_or(0);
            let lag = match space {
                Space::Plenty => self.segments_before_snapshots(pinned.len() as u64),
                Space::Reserve | Space::Exhausted => SHORT_LAG,
            };
            for (group, segment) in pinned {
                if segment + lag < newest
                    && let Some(group) = self.shard.group(GroupId(group))
                {
                    group.replica().request_snapshot();
                }
            }
        }
    }

    /// One line for the operator.
    fn tell_space(&self, space: Space, refusal: &str) {
        let what = match space {
            Space::Plenty => "has room for the log again; writes are taken again".to_owned(),
            Space::Reserve => {
                format!("gives the log no file ({refusal}): it lives on its reserve, and writes that grow are refused")
            }
            Space::Exhausted => {
                format!(
                    "gives the log no file ({refusal}), and its reserve is used up: nothing is written until it does"
                )
            }
        };
        crate::say!("shard {}: the disk of {} {what}", self.shard.id(), self.config.data_dir.display());
    }

    /// How many segments behind the newest a group's oldest entry may be: twice what all groups together write before
    /// they take snapshots by themselves. A busy group does so in time; this is for the idle ones among busy ones.
    fn segments_before_snapshots(&self, groups: u64) -> u64 {
        2 + (2 * groups * self.config.snapshot_log_bytes).div_ceil(self.config.segment_bytes)
    }

    pub(super) async fn close_log(&self) {
        let log = self.shard.log();
        if let Some(log) = log {
            log.close();
            self.log_closed.wait().await;
        }
    }
}

/// Whose log it is, for the log's checksums.
pub fn log_identity(manifest: &Manifest, shard: u16) -> LogIdentity {
    let founding = manifest.founding.as_ref().expect("a log is opened only after the founding");
    LogIdentity { cluster: founding.cluster, incarnation: manifest.incarnation, shard }
}

/// What can be done about the log of `shard` that cannot be opened and is not given up by itself, behind the message. It may
/// be whole and only be in the wrong place, or out of reach; where it is not there any more, it is a lost log.
pub fn remedy(error: &OpenError, manifest: &Manifest, dir: &Path, shard: u16) -> String {
    let first = match error {
        OpenError::Io { operation: "allocate", source, .. } if is_full(source) => {
            return "; its disk is full, and the log has no segment left: free some space there and start again"
                .to_owned();
        }
        OpenError::Foreign { .. } => "put back the log that belongs there; if it is gone",
        OpenError::Io { operation: "read", .. } => "if the disk does not give it back any more",
        _ => return String::new(),
    };
    let way = match error {
        OpenError::Foreign { .. } if is_alone(manifest) => {
            let (log, dir) = (manifest.log_dir(dir, shard), dir.display());
            format!("move {} away: `kahuna recover --data-dir {dir}` keeps what the others hold", log.display())
        }
        _ => way_out(manifest, dir, shard),
    };
    format!("; {first}, {way}")
}

/// What can be done about a log of `shard` that is of no use any more.
fn way_out(manifest: &Manifest, dir: &Path, shard: u16) -> String {
    if is_alone(manifest) {
        format!("`kahuna recover --data-dir {}` keeps what can be read", dir.display())
    } else {
        let log = manifest.log_dir(dir, shard);
        format!("move {} away and start again: the other nodes feed its groups", log.display())
    }
}

/// Whether no other node holds the data.
fn is_alone(manifest: &Manifest) -> bool {
    manifest.founding.as_ref().is_none_or(|founding| founding.members.len() < 2)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What a log that cannot be opened ends the process with.
pub fn exit_code_of(error: &OpenError) -> ExitCode {
    match error {
        OpenError::Io { operation: "allocate", source, .. } if is_full(source) => ExitCode::HostNotFit,
        OpenError::Io { .. } => ExitCode::DiskFailed,
        OpenError::NewerFormat { .. } => ExitCode::HostNotFit,
        _ => ExitCode::DataDamaged,
    }
}
