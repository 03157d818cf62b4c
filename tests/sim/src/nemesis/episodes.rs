//! The schedule.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
    time::Duration,
};

use futures_util::future::join_all;
use kahuna_shards::env::Env;

use super::{Clocks, SimFault, Struck, Temper};
use crate::{NodeId, Sim, SimRng, cluster::Cluster};

const STREAM_FORK: u64 = 1;

/// The clients of a run, as far as faults concern them.
#[derive(Clone)]
pub struct Clients<'a> {
    /// How many there are.
    pub count: u64,
    /// The answers that they got so far.
    pub acks: Rc<dyn Fn() -> u64 + 'a>,
    /// Ends one, and begins another one in its place.
    pub restart: Rc<dyn Fn(u64) + 'a>,
}

impl fmt::Debug for Clients<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("count", &self.count).finish_non_exhaustive()
    }
}

/// Breaks a cluster and mends it again. Clones are handles to the same one, each with a stream to draw from.
///
/// Episode and fault have a stream of their own each: when a fault is left out, the others stay what they were.
#[derive(Debug, Clone)]
pub struct Nemesis<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) clients: Clients<'a>,
    pub(super) rng: SimRng,
    temper: Rc<Temper>,
    /// The numbers of the faults that happen; all if absent.
    only: Option<Rc<BTreeSet<u64>>>,
    /// The node whose logs and snapshots may be lost.
    pub(super) victim: NodeId,
    /// How wrong wall clocks may be.
    pub(super) limits: Clocks,
    struck: Rc<RefCell<Vec<Struck>>>,
    /// Nodes whose process or disk some fault has in hand.
    taken: Rc<RefCell<BTreeSet<NodeId>>>,
    /// What each wall clock is off, in nanoseconds, beside what all are.
    pub(super) clocks: Rc<RefCell<BTreeMap<NodeId, i64>>>,
    /// Nodes that ended themselves because of a fault: number and time of the end.
    pub(super) excused: Rc<RefCell<BTreeSet<(NodeId, u64)>>>,
    /// Nodes that did not do what they were asked in time.
    pub(super) late: Rc<RefCell<Vec<String>>>,
}

impl<'a> Nemesis<'a> {
    /// A nemesis that draws from `rng` what it does to `cluster` and its `clients`, and to wall clocks what `limits` allow.
    /// If `only` is given, faults with other numbers do not happen.
    pub fn new(
        cluster: &'a Cluster,
        clients: Clients<'a>,
        rng: SimRng,
        limits: Clocks,
        only: Option<BTreeSet<u64>>,
    ) -> Self {
        Self {
            cluster,
            clients,
            temper: Rc::new(Temper::draw(&rng, limits)),
            only: only.map(Rc::new),
            victim: rng.between(1, cluster.shape().nodes),
            limits,
            rng,
            struck: Rc::default(),
            taken: Rc::default(),
            clocks: Rc::default(),
            excused: Rc::default(),
            late: Rc::default(),
        }
    }

    /// The faults that have happened, in order of their ends.
    pub fn struck(&self) -> Vec<Struck> {
        self.struck.borrow().clone()
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
        let mut number = 0;
        while Sim::boot_clock() < until {
            let episode = self.fork();
            episode.pause(self.temper.calm_ms).await;
            let faults: Vec<_> = (0..episode.rng.between(1, self.temper.at_once))
                .map(|_| {
                    number += 1;
                    (number, self.temper.fault(&episode.rng), episode.fork())
                })
                .collect();
            join_all(faults.iter().map(|(number, fault, own)| own.happen(*number, *fault))).await;
        }
        self.heal();
    }

    /// The same nemesis with a stream of its own, which one draw from this one's decides.
    fn fork(&self) -> Self {
        Self { rng: SimRng::new(self.rng.draw(), STREAM_FORK), ..self.clone() }
    }

    /// Mends all faults at once, and starts every node.
    pub fn heal(&self) {
        let world = self.cluster.world();
        world.net().heal_all();
        self.normal_network();
        for node in self.cluster.shape().numbers() {
            world.resume(node);
            self.cluster.disk(node).mend();
            self.cluster.disk(node).leave_room(u64::MAX);
            self.normal_disk(node);
            if !self.cluster.is_up(node) {
                self.cluster.start(node);
            }
        }
    }

    /// One fault, from its beginning until it is undone. Nothing happens when all that it could strike is in hand already.
    /// One that is left out takes its time all the same, so that the next episode finds the cluster as old.
    async fn happen(&self, number: u64, fault: SimFault) {
        if self.only.as_ref().is_some_and(|only| !only.contains(&number)) {
            return self.last().await;
        }
        let began = Sim::boot_clock();
        let happened = match fault {
            SimFault::KillAll | SimFault::PowerLossAll | SimFault::PowerLossAtAck => self.strike_all(fault).await,
            SimFault::Move | SimFault::MoveAll => self.strike_addresses(fault).await,
            SimFault::Kill
            | SimFault::PowerLoss
            | SimFault::KillWhileStarting
            | SimFault::Restart
            | SimFault::Reshard
            | SimFault::Pause
            | SimFault::HangShard
            | SimFault::DiskFails
            | SimFault::SlowDisk
            | SimFault::ClockJump
            | SimFault::ClockDrift
            | SimFault::ClockBeyond => self.strike_host(fault).await,
            SimFault::ClocksSetBack => self.set_all_clocks_back(),
            SimFault::LogLost | SimFault::LogRots | SimFault::SnapshotRots | SimFault::DiskFull => {
                self.strike_storage(fault).await
            }
            SimFault::RotInMajority => self.rot_in_majority().await,
            fault if fault.is_of_terms() => self.strike_terms(fault).await,
            _ => self.strike_wires(fault).await,
        };
        if happened {
            let millis = |time: Duration| u64::try_from(time.as_millis()).expect("a run is short");
            let (at_ms, for_ms) = (millis(began), millis(Sim::boot_clock() - began));
            self.struck.borrow_mut().push(Struck { number, fault, at_ms, for_ms });
        }
    }

    /// A node that no other fault has in hand, which is now in ours.
    pub(super) fn take(&self) -> Option<NodeId> {
        let mut taken = self.taken.borrow_mut();
        let node = self.draw_node(|node| !taken.contains(&node))?;
        taken.insert(node);
        Some(node)
    }

    /// The node, if no other fault has it in hand.
    pub(super) fn take_this(&self, node: NodeId) -> Option<NodeId> {
        self.taken.borrow_mut().insert(node).then_some(node)
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

    /// Lets any of `nodes` be the first.
    pub(super) fn rotate(&self, nodes: &mut [NodeId]) {
        let first = self.rng.below(nodes.len() as u64) as usize;
        nodes.rotate_left(first);
    }

    /// Waits for as long as a fault lasts.
    pub(super) async fn last(&self) {
        self.pause(self.temper.last_ms).await;
    }

    pub(super) async fn pause(&self, range_ms: (u64, u64)) {
        Sim::sleep(Duration::from_millis(self.rng.between(range_ms.0, range_ms.1))).await;
    }
}
