//! Faults of processes, disks and clocks.

use std::{io::ErrorKind, time::Duration};

use kahuna_shards::env::{Env, ExitCode};

use super::{Clocks, Nemesis, SimFault};
use crate::{DiskOp, NodeId, Sim, cluster::Cluster};

/// How long a node may take to stop when asked.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long a start may go on before it is killed again, in milliseconds.
pub(super) const STARTING_MS: (u64, u64) = (0, 60);
/// How long an answer to strike at is waited for, and how often is looked for it.
const ACK_LIMIT: Duration = Duration::from_secs(1);
const ACK_LOOK: Duration = Duration::from_micros(50);
/// How long a shard hangs, in milliseconds: its groups get other leaders after a second.
const HANG_MS: (u64, u64) = (200, 3_000);
/// Of a slow disk, in nanoseconds.
const SLOW_NANOS: (u64, u64) = (5_000_000, 60_000_000);
/// Most operations that a failing disk still carries out.
const LAST_OPERATIONS: u64 = 20;
/// Most shards of a node.
pub(super) const MOST_SHARDS: u64 = 3;
/// What a wall clock may be off, in nanoseconds: a little less than half of the allowed skew.
const CLOCK_NANOS: i64 = 120_000_000;
/// Steps of a drifting clock, and what each moves it by at most, in nanoseconds.
const DRIFT_STEPS: u64 = 20;
const DRIFT_NANOS: i64 = 5_000_000;
/// What a clock beyond the bound is off at most, in seconds, and the least time for it, in milliseconds: a node looks at its
/// host's clock once a second.
const BEYOND_SECONDS: u64 = 600;
const BEYOND_MS: (u64, u64) = (500, 2_500);

impl Nemesis<'_> {
    pub(super) async fn strike_all(&self, fault: SimFault) -> bool {
        let Some(nodes) = self.take_all() else { return false };
        let mut struck = nodes.clone();
        if fault == SimFault::PowerLossAtAck {
            let acks = (self.clients.acks)();
            Sim::timeout(ACK_LIMIT, async {
                while (self.clients.acks)() == acks {
                    Sim::sleep(ACK_LOOK).await;
                }
            })
            .await;
            while struck.len() > nodes.len() / 2 + 1 {
                struck.swap_remove(self.rng.below(struck.len() as u64) as usize);
            }
        }
        for &node in &struck {
            match fault {
                SimFault::KillAll => self.cluster.kill(node),
                _ => self.cluster.cut_power(node),
            }
        }
        for node in nodes {
            if !self.cluster.is_up(node) {
                self.pause(STARTING_MS).await;
                self.cluster.start(node);
            }
            self.give_back(node);
        }
        true
    }

    pub(super) async fn strike_host(&self, fault: SimFault) -> bool {
        let node = match (fault, self.limits) {
            (SimFault::ClockBeyond, Clocks::Wild(wild)) => self.take_this(wild),
            _ => self.take(),
        };
        let Some(node) = node else { return false };
        match fault {
            SimFault::Kill => {
                self.cluster.kill(node);
                self.last().await;
            }
            SimFault::PowerLoss => {
                self.cluster.cut_power(node);
                self.last().await;
            }
            SimFault::KillWhileStarting => self.kill_while_starting(node).await,
            SimFault::Restart => self.stop(node).await,
            SimFault::Reshard => self.reshard(node).await,
            SimFault::Pause => {
                self.cluster.world().pause(node);
                self.last().await;
                self.cluster.world().resume(node);
            }
            SimFault::HangShard => {
                let shards = u64::from(self.cluster.shards(node));
                if shards < 2 {
                    self.give_back(node);
                    return false;
                }
                self.cluster.world().pause_shard(node, self.rng.between(1, shards - 1) as u16);
                self.pause(HANG_MS).await;
                self.cluster.world().resume(node);
            }
            SimFault::DiskFails => self.fail_disk(node).await,
            SimFault::SlowDisk => {
                self.cluster.disk(node).set_latency_nanos(SLOW_NANOS.0, SLOW_NANOS.1);
                self.last().await;
                self.normal_disk(node);
            }
            SimFault::ClockDrift => {
                let step = self.draw_within(DRIFT_NANOS);
                for _ in 0..DRIFT_STEPS {
                    self.move_clock(node, step);
                    self.pause((50, 100)).await;
                }
            }
            SimFault::ClockBeyond => self.set_clock_wild(node).await,
            _ => {
                let jump = self.draw_within(2 * CLOCK_NANOS);
                self.move_clock(node, jump);
            }
        }
        if !self.cluster.is_up(node) {
            self.cluster.start(node);
        }
        self.give_back(node);
        true
    }

    async fn kill_while_starting(&self, node: NodeId) {
        for _ in 0..self.rng.between(1, 4) {
            match self.rng.below(2) {
                0 => self.cluster.kill(node),
                _ => self.cluster.cut_power(node),
            }
            self.cluster.start(node);
            self.pause(STARTING_MS).await;
        }
        self.cluster.kill(node);
    }

    async fn stop(&self, node: NodeId) {
        // One that ended itself meanwhile is judged by its exit code.
        if !self.cluster.stop(node, STOP_LIMIT).await
            && self.cluster.world().exits().iter().all(|exit| exit.node != node)
        {
            self.late.borrow_mut().push(format!("node {node} did not stop within {STOP_LIMIT:?}"));
        }
    }

    async fn reshard(&self, node: NodeId) {
        if self.rng.below(2) == 0 {
            self.stop(node).await;
        } else {
            self.cluster.kill(node);
        }
        self.cluster.start_with_shards(node, self.rng.between(1, MOST_SHARDS) as u16);
        if self.rng.below(2) == 0 {
            // While its logs are cut anew, or soon after.
            self.pause(STARTING_MS).await;
            self.cluster.cut_power(node);
        }
    }

    async fn fail_disk(&self, node: NodeId) {
        let disk = self.cluster.disk(node);
        let op = [DiskOp::Write, DiskOp::Sync, DiskOp::Meta, DiskOp::Open, DiskOp::Read][self.rng.below(5) as usize];
        let kind = [ErrorKind::Other, ErrorKind::TimedOut][self.rng.below(2) as usize];
        let before = self.cluster.world().exits().len();
        disk.fail(op, self.rng.below(LAST_OPERATIONS), kind);
        self.last().await;
        disk.mend();
        self.excuse(node, before, ExitCode::DiskFailed);
        if !self.cluster.is_up(node) && self.rng.below(2) == 0 {
            disk.crash();
        }
    }

    /// Excuses the ends of a node with that code, of those behind the first `before` of all.
    pub(super) fn excuse(&self, node: NodeId, before: usize, code: ExitCode) {
        let exits = self.cluster.world().exits().into_iter().skip(before);
        for exit in exits.filter(|exit| exit.node == node && exit.code == code) {
            self.excused.borrow_mut().insert((node, exit.at_nanos));
        }
    }

    /// Its clock is far ahead or behind for a while. Every other time it is set wrong while the node is down, every other
    /// time it is set right so.
    async fn set_clock_wild(&self, node: NodeId) {
        let by = self.draw_beyond();
        self.set_clock(node, by).await;
        self.pause(BEYOND_MS).await;
        self.last().await;
        self.set_clock(node, -by).await;
    }

    async fn set_clock(&self, node: NodeId, by: i64) {
        if self.rng.below(2) == 0 {
            self.cluster.world().jump_wall_clock(node, by);
            return;
        }
        self.cluster.kill(node);
        self.cluster.world().jump_wall_clock(node, by);
        self.pause(STARTING_MS).await;
        self.cluster.start(node);
    }

    /// All nodes' clocks are set back; every other time the clients' too.
    pub(super) fn set_all_clocks_back(&self) -> bool {
        let by = -self.draw_beyond().abs();
        let clients = if self.rng.below(2) == 0 { self.clients.count } else { 0 };
        let hosts = self.cluster.shape().numbers().chain((0..clients).map(Cluster::client_node));
        hosts.for_each(|host| self.cluster.world().jump_wall_clock(host, by));
        true
    }

    /// From a second to ten minutes, ahead or behind, in nanoseconds; short ones as often as long ones.
    fn draw_beyond(&self) -> i64 {
        let least = 1 << self.rng.below(u64::from(BEYOND_SECONDS.ilog2()) + 1);
        let millis = self.rng.between(least * 1_000, (2 * least).min(BEYOND_SECONDS) * 1_000);
        let nanos = millis.cast_signed() * 1_000_000;
        if self.rng.below(2) == 0 { nanos } else { -nanos }
    }

    pub(super) fn normal_disk(&self, node: NodeId) {
        let (least, most) = self.cluster.shape().disk_nanos;
        self.cluster.disk(node).set_latency_nanos(least, most);
    }

    /// A number from `-most` to `most`.
    fn draw_within(&self, most: i64) -> i64 {
        self.rng.between(0, 2 * most.unsigned_abs()).cast_signed() - most
    }

    fn move_clock(&self, node: NodeId, by: i64) {
        let mut clocks = self.clocks.borrow_mut();
        let off = clocks.entry(node).or_default();
        let next = (*off + by).clamp(-CLOCK_NANOS, CLOCK_NANOS);
        self.cluster.world().jump_wall_clock(node, next - *off);
        *off = next;
    }
}
