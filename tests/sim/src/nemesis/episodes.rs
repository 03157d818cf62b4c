//! The schedule.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use futures_util::future::join_all;
use kahuna_shards::env::Env;

use super::{Fault, Temper};
use crate::{NodeId, Sim, SimRng, cluster::Cluster};

/// Breaks a cluster and mends it again.
#[derive(Debug)]
pub struct Nemesis<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) clients: u64,
    pub(super) rng: SimRng,
    temper: Temper,
    /// Answers that clients got so far.
    pub(super) acks: Rc<Cell<u64>>,
    counts: RefCell<BTreeMap<Fault, u64>>,
    /// Nodes whose process or disk some fault has in hand.
    taken: RefCell<BTreeSet<NodeId>>,
    /// What each wall clock is off, in nanoseconds.
    pub(super) clocks: RefCell<BTreeMap<NodeId, i64>>,
    /// Nodes that ended themselves because of a fault: number and time of the end.
    pub(super) excused: RefCell<BTreeSet<(NodeId, u64)>>,
    /// Nodes that did not do what they were asked in time.
    pub(super) late: RefCell<Vec<String>>,
}

impl<'a> Nemesis<'a> {
    /// A nemesis that draws from `rng` what it does to `cluster` and its first `clients` clients, whose answers are counted
    /// in `acks`.
    pub fn new(cluster: &'a Cluster, clients: u64, acks: Rc<Cell<u64>>, rng: SimRng) -> Self {
        Self {
            cluster,
            clients,
            temper: Temper::draw(&rng),
            acks,
            rng,
            counts: RefCell::default(),
            taken: RefCell::default(),
            clocks: RefCell::default(),
            excused: RefCell::default(),
            late: RefCell::default(),
        }
    }

    /// How often each kind of fault has happened.
    pub fn counts(&self) -> BTreeMap<Fault, u64> {
        self.counts.borrow().clone()
    }

    /// Whether a node's end, which was at `at_nanos`, was the fault's.
    pub fn excuses(&self, node: NodeId, at_nanos: u64) -> bool {
        self.excused.borrow().contains(&(node, at_nanos))
    }

    /// What nodes were asked for and did not do in time.
    pub fn late(&self) -> Vec<String> {
        self.late.borrow().clone()
    }

    /// Lets faults happen for so long, and mends everything.
    pub async fn rage(&self, duration: Duration) {
        let until = Sim::boot_clock() + duration;
        while Sim::boot_clock() < until {
            self.pause(self.temper.calm_ms).await;
            let faults: Vec<Fault> =
                (0..self.rng.between(1, self.temper.at_once)).map(|_| self.temper.fault(&self.rng)).collect();
            join_all(faults.into_iter().map(|fault| self.happen(fault))).await;
        }
        self.heal();
    }

    /// Whatever is broken is mended at once, and every node runs.
    pub fn heal(&self) {
        let world = self.cluster.world();
        world.net().heal_all();
        self.normal_network();
        for node in self.cluster.shape().numbers() {
            world.resume(node);
            self.cluster.disk(node).mend();
            self.normal_disk(node);
            if !self.cluster.is_up(node) {
                self.cluster.start(node);
            }
        }
    }

    /// One fault, from its beginning until it is undone. Nothing happens when all that it could strike is in hand already.
    async fn happen(&self, fault: Fault) {
        let happened = match fault {
            Fault::KillAll | Fault::PowerLossAll | Fault::PowerLossAtAck => self.strike_all(fault).await,
            Fault::Kill
            | Fault::PowerLoss
            | Fault::KillWhileStarting
            | Fault::Restart
            | Fault::Reshard
            | Fault::Pause
            | Fault::DiskFails
            | Fault::SlowDisk
            | Fault::ClockJump
            | Fault::ClockDrift => self.strike_host(fault).await,
            _ => self.strike_wires(fault).await,
        };
        if happened {
            *self.counts.borrow_mut().entry(fault).or_default() += 1;
        }
    }

    /// A node that no other fault has in hand, which is now in ours.
    pub(super) fn take(&self) -> Option<NodeId> {
        let mut taken = self.taken.borrow_mut();
        let node = self.draw_node(|node| !taken.contains(&node))?;
        taken.insert(node);
        Some(node)
    }

    /// All nodes, if no other fault has any of them in hand.
    pub(super) fn take_all(&self) -> Option<Vec<NodeId>> {
        let mut taken = self.taken.borrow_mut();
        if !taken.is_empty() {
            return None;
        }
        taken.extend(self.cluster.shape().numbers());
        Some(self.cluster.shape().numbers().collect())
    }

    pub(super) fn give_back(&self, node: NodeId) {
        self.taken.borrow_mut().remove(&node);
    }

    /// Any node.
    pub(super) fn any(&self) -> NodeId {
        self.draw_node(|_| true).expect("a cluster has nodes")
    }

    /// A node that fits; every other time one that leads something, if there is one.
    fn draw_node(&self, fits: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let leads = |node: NodeId| {
            let groups = self.cluster.probe(node).map(|probe| probe.groups()).unwrap_or_default();
            groups.iter().any(|group| group.leading)
        };
        let mut nodes: Vec<NodeId> = self.cluster.shape().numbers().filter(|node| fits(*node)).collect();
        if self.rng.below(2) == 0 && nodes.iter().any(|node| leads(*node)) {
            nodes.retain(|node| leads(*node));
        }
        nodes.get(self.rng.below(nodes.len() as u64) as usize).copied()
    }

    /// Waits for as long as a fault lasts.
    pub(super) async fn last(&self) {
        self.pause(self.temper.last_ms).await;
    }

    pub(super) async fn pause(&self, range_ms: (u64, u64)) {
        Sim::sleep(Duration::from_millis(self.rng.between(range_ms.0, range_ms.1))).await;
    }
}
