//! A cluster on which a scenario is played: one data group, and what can be done to its replicas and seen of them.

use std::collections::BTreeSet;
use std::time::Duration;

use kahuna_client::{CallOptions, ClientError};
use kahuna_protocol::key::{Condition, KeyGet, KeySet};
use kahuna_protocol::{GroupId, Outcome, ReadLevel, ReplicaId, Request};
use kahuna_shards::env::Env;
use kahuna_sim::cluster::{Cluster, GroupView, LogEntry, Shape, SimClient};
use kahuna_sim::{NodeId, Sim, World};

/// The group that the scenarios look at.
pub const GROUP: GroupId = GroupId(1);
/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a client waits for an answer that must come.
const ANSWER: Duration = Duration::from_secs(10);

/// What a client was told.
pub type Told = Result<Outcome, ClientError>;

/// A cluster in its world.
pub struct Stage {
    world: World,
    cluster: Cluster,
}

pub fn set(key: &str, value: &str) -> Request {
    let (key, value) = (key.into(), value.into());
    KeySet { key, value, ttl_ms: None, condition: Condition::default(), no_history: false }.into()
}

pub fn get(key: &str) -> Request {
    KeyGet { key: key.into(), revision: None, as_of: None }.into()
}

impl Stage {
    /// A cluster of `nodes` that has formed itself: the group is led, and has everything applied everywhere.
    pub fn new(seed: u64, nodes: u64) -> Self {
        Self::with_shape(seed, Shape { partitions: 1, snapshot_log_bytes: 1 << 30, ..Shape::small(nodes) })
    }

    /// The same in a shape of its own.
    pub fn with_shape(seed: u64, shape: Shape) -> Self {
        let world = World::new(seed);
        let stage = Self { cluster: Cluster::new(&world, shape), world };
        stage.nodes().for_each(|node| stage.cluster.start(node));
        stage.write("first");
        stage.settle();
        stage
    }

    pub fn nodes(&self) -> std::ops::RangeInclusive<NodeId> {
        self.cluster.shape().numbers()
    }

    pub fn other_nodes(&self, than: &[NodeId]) -> Vec<NodeId> {
        self.nodes().filter(|node| !than.contains(node)).collect()
    }

    // What is done to it.

    pub fn kill(&self, node: NodeId) {
        self.cluster.kill(node);
    }

    pub fn start(&self, node: NodeId) {
        self.cluster.start(node);
    }

    /// Nothing passes between those of different parts; who is in none of them is not touched.
    pub fn partition(&self, parts: &[&[NodeId]]) {
        for (at, part) in parts.iter().enumerate() {
            for other in &parts[at + 1..] {
                for (&one, &two) in part.iter().flat_map(|one| other.iter().map(move |two| (one, two))) {
                    self.cut(one, two);
                    self.cut(two, one);
                }
            }
        }
    }

    /// Nothing passes from one to the other.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.world.net().cut(from, to);
    }

    /// Everything passes from one to the other again; what was held up arrives now.
    pub fn mend(&self, from: NodeId, to: NodeId) {
        self.world.net().heal(from, to);
    }

    /// Takes all cuts back. What was held up arrives now.
    pub fn heal(&self) {
        self.world.net().heal_all();
    }

    /// Takes all cuts back. What was held up is lost: the connections break first.
    pub fn heal_and_forget(&self) {
        let everybody = || self.nodes().chain((0..4).map(Cluster::client_node));
        for one in everybody() {
            everybody().filter(|two| *two > one).for_each(|two| self.world.net().reset(one, two));
        }
        self.heal();
    }

    /// The connections between two nodes break, with all that is on its way.
    pub fn break_connections(&self, one: NodeId, two: NodeId) {
        self.world.net().reset(one, two);
    }

    /// Has `leader` transfer its leadership to `to`, the replica of `successor`, which dies as soon as that is said.
    pub fn kill_when_appointed(&self, leader: NodeId, successor: NodeId, to: ReplicaId) {
        let probe = self.cluster.probe(leader).expect("it runs");
        let said = self.world.block_on(async move { probe.transfer(GROUP, to).await });
        assert!(said, "seed {}: the successor was there", self.world.seed());
        self.kill(successor);
    }

    /// Makes the replica on `node` doubt that the one on `leader` leads.
    pub fn doubt(&self, node: NodeId, leader: NodeId) {
        let (probe, leader) = (self.cluster.probe(node).expect("it runs"), self.view(leader).expect("it runs").replica);
        self.world.block_on(async move { probe.doubt(GROUP, leader) });
    }

    /// Whether the replica on `node` believes in a leader.
    pub fn believes(&self, node: NodeId) -> bool {
        self.cluster.probe(node).is_some_and(|probe| probe.believes(GROUP))
    }

    /// Bytes take between `least` and `most` milliseconds from now on.
    pub fn slow_network(&self, least: u64, most: u64) {
        self.world.net().set_delay_nanos(least * 1_000_000, most * 1_000_000);
    }

    /// Makes a replica stand for election.
    pub fn campaign(&self, node: NodeId) {
        let probe = self.cluster.probe(node).expect("it runs");
        self.world.spawn_on(node, async move { probe.campaign(GROUP) });
    }

    // How time passes.

    pub fn run_for(&self, millis: u64) {
        self.world.run_for(Duration::from_millis(millis));
    }

    /// Runs until `goal` holds, looking more often than any message can arrive; panics with `what` when that takes too long.
    pub fn until(&self, what: &str, goal: impl Fn() -> bool) {
        self.until_looking_every(Duration::from_micros(25), what, goal);
    }

    fn until_looking_every(&self, pause: Duration, what: &str, goal: impl Fn() -> bool) {
        let reached = self.world.block_on(async {
            let limit = Sim::boot_clock() + PATIENCE;
            while !goal() && Sim::boot_clock() < limit {
                Sim::sleep(pause).await;
            }
            goal()
        });
        assert!(reached, "seed {}: not {what}: {:#?}", self.world.seed(), self.views());
    }

    /// Runs until all nodes that are up have one log, all of it applied, and one state.
    pub fn settle(&self) {
        self.until_looking_every(Duration::from_millis(5), "settled", || {
            let up = self.views();
            let done = up.iter().all(|(_, view)| view.applied_index == view.last_index);
            let ends: BTreeSet<u64> = up.iter().map(|(_, view)| view.last_index).collect();
            done && ends.len() == 1 && self.leader().is_some()
        });
        self.expect_equal_logs();
    }

    // What is seen of it.

    /// The replica on `node`, if the node is up and has one.
    pub fn view(&self, node: NodeId) -> Option<GroupView> {
        self.cluster.probe(node)?.groups().into_iter().find(|view| view.group == GROUP)
    }

    pub fn views(&self) -> Vec<(NodeId, GroupView)> {
        self.nodes().filter_map(|node| Some((node, self.view(node)?))).collect()
    }

    pub fn term(&self, node: NodeId) -> u64 {
        self.view(node).map_or(0, |view| view.term)
    }

    pub fn leads(&self, node: NodeId) -> bool {
        self.view(node).is_some_and(|view| view.leading)
    }

    /// Whether the replica on `node` would answer a read now, by its lease alone.
    pub fn trusts_its_lease(&self, node: NodeId) -> bool {
        let probe = self.cluster.probe(node).expect("it runs");
        self.world.block_on(async move { probe.trusts_its_lease(GROUP).await })
    }

    /// Who leads in the highest term.
    pub fn leader(&self) -> Option<NodeId> {
        let leading = self.views().into_iter().filter(|(_, view)| view.leading);
        leading.max_by_key(|(_, view)| view.term).map(|(node, _)| node)
    }

    /// Who leads, once somebody of `among` does.
    pub fn leader_among(&self, among: &[NodeId]) -> NodeId {
        let leader = || among.iter().copied().find(|node| self.leads(*node));
        self.until(&format!("led by one of {among:?}"), || leader().is_some());
        leader().expect("just seen")
    }

    pub fn log(&self, node: NodeId) -> Vec<LogEntry> {
        self.cluster.probe(node).map(|probe| probe.log(GROUP, 0)).unwrap_or_default()
    }

    /// The term of the entry at `index` of a node's log.
    pub fn term_at(&self, node: NodeId, index: u64) -> Option<u64> {
        self.log(node).iter().find(|entry| entry.index == index).map(|entry| entry.term)
    }

    pub fn last_index(&self, node: NodeId) -> u64 {
        self.view(node).map_or(0, |view| view.last_index)
    }

    /// All replicas that are up have the same log and the same state.
    pub fn expect_equal_logs(&self) {
        let up: Vec<NodeId> = self.views().into_iter().map(|(node, _)| node).collect();
        let state = |node: NodeId| self.cluster.probe(node).and_then(|probe| probe.hash(GROUP));
        for pair in up.windows(2) {
            assert_eq!(self.log(pair[0]), self.log(pair[1]), "the logs of {pair:?}");
            assert_eq!(state(pair[0]), state(pair[1]), "the states of {pair:?}");
        }
        assert_eq!(self.world.exits(), [], "no node ends itself");
    }

    // Clients.

    /// The process of client `index`.
    pub fn client(index: u64) -> NodeId {
        Cluster::client_node(index)
    }

    /// Ends a client's process; what it sent and was not read is gone with its connections.
    pub fn end_client(&self, index: u64) {
        self.world.kill(Self::client(index));
    }

    /// Sends a request as client `index`, which knows the nodes `known`.
    pub fn begin(
        &self,
        index: u64,
        known: &[NodeId],
        request: Request,
        read: ReadLevel,
        timeout: Duration,
    ) -> flume::Receiver<Told> {
        let all = self.cluster.shape().endpoints();
        let endpoints = known.iter().map(|node| all[usize::try_from(*node).expect("few nodes") - 1].clone()).collect();
        let (done, told) = flume::bounded(1);
        self.world.spawn_on(Self::client(index), async move {
            let options = CallOptions { timeout: Some(timeout), read, ..CallOptions::default() };
            let answer = SimClient::new(endpoints).call_with(request, options).await;
            // A scenario need not look at it.
            let _ = done.send(answer.map(|reply| reply.outcome));
        });
        told
    }

    /// Asks as client `index` through the nodes `known` only, and waits for what it is told within `millis`.
    pub fn ask(&self, index: u64, known: &[NodeId], request: Request, read: ReadLevel, millis: u64) -> Told {
        let told = self.begin(index, known, request, read, Duration::from_millis(millis));
        self.world.block_on(told.recv_async()).expect("a client tells how its call ended")
    }

    /// Writes `key` with itself as its value; it must be acknowledged.
    pub fn write(&self, key: &str) {
        let all: Vec<NodeId> = self.nodes().collect();
        let told = self.ask(0, &all, set(key, key), ReadLevel::Linearizable, ANSWER.as_millis() as u64);
        assert!(matches!(told, Ok(Outcome::Set(_))), "seed {}: writing {key}: {told:?}", self.world.seed());
    }

    /// Whether `key` has a value; the read must be answered.
    pub fn is_there(&self, key: &str) -> bool {
        let all: Vec<NodeId> = self.nodes().collect();
        match self.ask(0, &all, get(key), ReadLevel::Linearizable, ANSWER.as_millis() as u64) {
            Ok(Outcome::Value(value)) => {
                assert_eq!(value.value, key.as_bytes(), "the value of {key}");
                true
            }
            Ok(Outcome::NotFound(_)) => false,
            other => panic!("seed {}: reading {key}: {other:?}", self.world.seed()),
        }
    }

    /// Whether a write through `known` alone is acknowledged within `millis`.
    pub fn acknowledges(&self, index: u64, known: &[NodeId], key: &str, millis: u64) -> bool {
        self.ask(index, known, set(key, key), ReadLevel::Linearizable, millis).is_ok()
    }
}
