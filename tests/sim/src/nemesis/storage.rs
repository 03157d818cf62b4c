//! Faults of what a node has stored: its logs and snapshots are lost or rot, or there is no room for more.
//!
//! Only one node of a run loses what was durable, the run's victim, again and again: every majority that counts without it
//! still has all. Rot is put where the log itself proves it: at or below the position that a later batch claims durable.
//! Above that it cannot be distinguished from a write that the power loss tore.

use std::path::{Path, PathBuf};

use kahuna_protocol::ShardId;
use kahuna_shards::{env::ExitCode, node::manifest::Manifest};
use kahuna_wal::{
    BLOCK_BYTES, Disk, Position,
    inspect::{Part, Segment},
};

use super::{Nemesis, SimFault, hosts::STARTING_MS, terms::ELECTION_MS, wires::both_ways};
use crate::{NodeId, SimDisk, cluster::Cluster};

/// How long a node may take to count a lost log, in looks of this many milliseconds.
const LOOKS: u64 = 1_000;
const LOOK_MS: u64 = 20;
/// Most kills while a loss is found out and counted.
const MOST_KILLS: u64 = 2;
/// Room that is left on a full disk, at most, in bytes: too little for a snapshot, at times, and then the log grows.
const ROOM_BYTES: u64 = 16 << 10;
/// How long it is full at least, in milliseconds, and how soon after that every start has found out whether there is room.
const FULL_MS: (u64, u64) = (500, 4_000);
const STARTED_MS: u64 = 2_000;
/// How long a majority acknowledges without the others, in milliseconds.
const ACKNOWLEDGING_MS: (u64, u64) = (200, 1_500);

impl Nemesis<'_> {
    pub(super) async fn strike_storage(&self, fault: SimFault) -> bool {
        let node = if fault == SimFault::DiskFull { self.take() } else { self.take_this(self.victim) };
        let Some(node) = node else { return false };
        let happened = match fault {
            SimFault::DiskFull => self.fill_disk(node).await,
            SimFault::SnapshotRots => self.damage_snapshot(node).await,
            _ => self.lose_log(node, fault).await,
        };
        if !self.cluster.is_up(node) {
            self.cluster.start(node);
        }
        self.give_back(node);
        happened
    }

    /// Ends a process, and with it perhaps the power of its host.
    fn strike_down(&self, node: NodeId) {
        match self.rng.below(2) {
            0 => self.cluster.kill(node),
            _ => self.cluster.cut_power(node),
        }
    }

    /// Removes the log of one shard, or damages it; then the node must count the loss.
    async fn lose_log(&self, node: NodeId, fault: SimFault) -> bool {
        let held = self.cluster.probe(node).map(|probe| probe.groups()).unwrap_or_default();
        if fault == SimFault::LogRots {
            // What proves the rot must be durable itself, or it could be lost before the node has counted the loss.
            self.cluster.cut_power(node);
        } else {
            self.strike_down(node);
        }
        let disk = self.cluster.disk(node);
        let data_dir = Path::new(Cluster::data_dir());
        let Some(manifest) = founded(&disk).await else { return false };
        let shard = ShardId(self.rng.below(u64::from(manifest.shards)) as u16);
        let log = manifest.log_dir(data_dir, shard);
        if fault == SimFault::LogRots {
            let Some((segment, offset)) = self.place_of_rot(&disk, &log).await else { return false };
            disk.flip(&segment, offset, 1 << self.rng.below(8)).expect("it was read just now");
        } else {
            disk.remove_tree(&log);
            let set = log.parent().expect("a directory in its set's");
            disk.sync_dir(set).await.expect("no fault is injected");
        }
        let lost = held.iter().filter(|view| view.group.shard(manifest.shards) == shard);
        self.cluster.give_up(lost.map(|view| (view.group, view.replica)));
        // A log that does not verify cannot be moved, should that have been under way.
        self.start_hard(node, manifest.shards).await;
        for _ in 0..LOOKS {
            if founded(&disk).await.is_some_and(|now| now.losses > manifest.losses) {
                return true;
            }
            self.pause((LOOK_MS, LOOK_MS)).await;
        }
        self.late.borrow_mut().push(format!("node {node} does not count the loss of {}", log.display()));
        true
    }

    /// The victim's log rots after a time in which its copies made majorities. The nodes with the other copies are away
    /// then: a node that was away before can learn only from the victim, and must not form a majority with it.
    pub(super) async fn rot_in_majority(&self) -> bool {
        let Some(nodes) = self.take_all() else { return false };
        let minority = (nodes.len() - 1) / 2;
        let mut others: Vec<NodeId> = nodes.iter().copied().filter(|node| *node != self.victim).collect();
        self.rotate(&mut others);
        let (behind, ahead) = others.split_at(minority);
        let net = self.cluster.world().net();
        let victim = both_ways(&[self.victim], behind);
        let apart = both_ways(ahead, behind);
        victim.iter().chain(&apart).for_each(|(from, to)| net.cut(*from, *to));
        self.pause(ACKNOWLEDGING_MS).await;
        let away = both_ways(ahead, &[self.victim]);
        away.iter().for_each(|(from, to)| net.cut(*from, *to));
        victim.iter().for_each(|(from, to)| net.heal(*from, *to));
        let happened = self.lose_log(self.victim, SimFault::LogRots).await;
        self.pause(ELECTION_MS).await;
        away.iter().chain(&apart).for_each(|(from, to)| net.heal(*from, *to));
        for node in nodes {
            if !self.cluster.is_up(node) {
                self.cluster.start(node);
            }
            self.give_back(node);
        }
        happened
    }

    /// Damages a replica's snapshots. The loss is counted if the log does not reach back to its start.
    async fn damage_snapshot(&self, node: NodeId) -> bool {
        let Some(probe) = self.cluster.probe(node) else { return false };
        let groups = probe.groups();
        let shards = self.cluster.shards(node);
        let with: Vec<_> = groups.iter().filter(|view| view.snapshot_index > 0).collect();
        let Some(view) = with.get(self.rng.below(with.len() as u64) as usize) else { return false };
        self.strike_down(node);
        let disk = self.cluster.disk(node);
        let dir = Manifest::snapshot_dir(Path::new(Cluster::data_dir()), view.group, view.replica);
        let mut damaged = false;
        for file in disk.list(&dir).await.unwrap_or_default() {
            let path = dir.join(&file.name);
            damaged |= file.len > 0 && disk.flip(&path, self.rng.below(file.len), 1 << self.rng.below(8)).is_ok();
        }
        self.start_hard(node, shards).await;
        self.last().await;
        damaged
    }

    /// Starts a node; kills it a few times on the way.
    async fn start_hard(&self, node: NodeId, shards: u16) {
        self.cluster.start_with_shards(node, shards);
        for _ in 0..self.rng.below(MOST_KILLS + 1) {
            self.pause(STARTING_MS).await;
            self.strike_down(node);
            self.cluster.start(node);
        }
    }

    /// A byte of a log's segment, in a batch that a later one claims durable.
    async fn place_of_rot(&self, disk: &SimDisk, log: &Path) -> Option<(PathBuf, u64)> {
        let mut batches = Vec::new();
        let (mut durable, mut oldest) = (Position::default(), 0);
        for file in disk.list(log).await.ok()? {
            let path = log.join(&file.name);
            let bytes = disk.contents(&path).ok()?;
            let Ok(segment) = Segment::decode(&bytes) else { continue };
            let mut next: Option<(u64, u64, u64)> = None;
            for part in segment.parts() {
                let Part::Batch { offset, header, .. } = part else { break };
                let continues = next.map_or(offset == BLOCK_BYTES as u64, |(at, sequence, run)| {
                    (at, sequence) == (offset, header.sequence) && header.run >= run
                });
                if !continues {
                    break;
                }
                next = Some((offset + header.padded_bytes(), header.sequence + 1, header.run));
                durable = durable.max(header.durable);
                oldest = oldest.max(header.oldest_segment);
                let at = Position { segment: segment.header.sequence, offset };
                batches.push((at, path.clone(), u64::from(header.length)));
            }
        }
        batches.retain(|(at, ..)| at.segment >= oldest && *at < durable);
        let (at, path, length) = batches.get(self.rng.below(batches.len() as u64) as usize)?;
        Some((path.clone(), at.offset + self.rng.below(*length)))
    }

    /// Leaves no room on a disk for a while, and perhaps ends the node meanwhile. Whether it had to do with less.
    async fn fill_disk(&self, node: NodeId) -> bool {
        let disk = self.cluster.disk(node);
        let before = self.cluster.world().exits().len();
        disk.leave_room(self.rng.below(ROOM_BYTES));
        self.pause(FULL_MS).await;
        if self.rng.below(3) == 0 {
            self.strike_down(node);
            self.pause(STARTING_MS).await;
            self.cluster.start(node);
        }
        self.last().await;
        let full = self.cluster.probe(node).is_some_and(|probe| probe.disk_space() != Default::default());
        disk.leave_room(u64::MAX);
        // One that finds no room to begin with ends itself, soon if not yet: its log has none, or something else.
        self.pause((STARTED_MS, STARTED_MS)).await;
        for code in [ExitCode::HostNotFit, ExitCode::DiskFailed] {
            self.excuse(node, before, code);
        }
        full
    }
}

/// The manifest of a node that has a cluster.
async fn founded(disk: &SimDisk) -> Option<Manifest> {
    let manifest = Manifest::read(disk, Path::new(Cluster::data_dir())).await.ok()??;
    manifest.founding.is_some().then_some(manifest)
}
