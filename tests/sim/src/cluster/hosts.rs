//! The hosts of a cluster: what is done to them from outside.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use kahuna_protocol::{GroupId, ReplicaId};
use kahuna_shards::env::Env;

use super::{Probe, Shape, SimClient, boot::run_node, shape::DATA_DIR};
use crate::{DiskOptions, NodeId, Sim, SimDisk, World, exec::mix};

/// Clients are numbered from here: processes of the same world that are no node's.
const FIRST_CLIENT: NodeId = 1000;

/// One host: its disk stays, its node comes and goes.
struct Host {
    disk: SimDisk,
    shards: u16,
    running: Option<Running>,
}

struct Running {
    probe: Probe,
    stop: flume::Sender<()>,
    stopped: flume::Receiver<()>,
    /// How many nodes had ended themselves when this one started.
    exits_before: usize,
}

/// The nodes of one cluster in a world. Its methods are for the task that drives the run, which is no node's.
pub struct Cluster {
    world: World,
    shape: Shape,
    hosts: RefCell<BTreeMap<NodeId, Host>>,
    /// Where the nodes listen for their peers, from their next start on.
    peer_ports: RefCell<BTreeMap<NodeId, u16>>,
    /// Replicas whose logs are lost for good.
    given_up: RefCell<BTreeSet<(GroupId, ReplicaId)>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Hosts with empty disks, on which nothing runs. The world's seed decides over the disks too.
    pub fn new(world: &World, shape: Shape) -> Self {
        let host = |node| {
            let options = DiskOptions {
                seed: mix(world.seed()) ^ node,
                latency_nanos: shape.disk_nanos,
                ..DiskOptions::default()
            };
            (node, Host { disk: SimDisk::new(options), shards: 1, running: None })
        };
        let hosts = shape.numbers().map(host).collect();
        let peer_ports = RefCell::new(shape.peer_ports());
        Self { world: world.clone(), shape, hosts: RefCell::new(hosts), peer_ports, given_up: RefCell::default() }
    }

    /// The size of the cluster.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The world it lives in.
    pub fn world(&self) -> &World {
        &self.world
    }

    fn with<T>(&self, node: NodeId, see: impl FnOnce(&mut Host) -> T) -> T {
        see(self.hosts.borrow_mut().get_mut(&node).expect("a node of the cluster"))
    }

    /// Starts a node with as many shards as it had before.
    pub fn start(&self, node: NodeId) {
        self.start_with_shards(node, self.with(node, |host| host.shards));
    }

    /// How many shards a node has, or had when it ran.
    pub fn shards(&self, node: NodeId) -> u16 {
        self.with(node, |host| host.shards)
    }

    /// Starts a node with so many shards.
    pub fn start_with_shards(&self, node: NodeId, shards: u16) {
        self.start_as(node, shards, &self.peer_ports());
    }

    /// Where the nodes listen for their peers, from their next start on; every node is told so then.
    pub fn peer_ports(&self) -> BTreeMap<NodeId, u16> {
        self.peer_ports.borrow().clone()
    }

    /// A node listens for its peers on another port from its next start on.
    pub fn move_peers(&self, node: NodeId) {
        *self.peer_ports.borrow_mut().get_mut(&node).expect("a node of the cluster") += 1;
    }

    /// Starts a node that is told these ports of all nodes.
    pub fn start_with_peers(&self, node: NodeId, listed: &BTreeMap<NodeId, u16>) {
        self.start_as(node, self.shards(node), listed);
    }

    fn start_as(&self, node: NodeId, shards: u16, listed: &BTreeMap<NodeId, u16>) {
        self.reap(node);
        let (stop, stop_here) = flume::bounded(1);
        let (done, stopped) = flume::bounded(1);
        let probe = Probe::default();
        let exits_before = self.world.exits().len();
        let disk = self.with(node, |host| {
            assert!(host.running.is_none(), "node {node} runs already");
            host.shards = shards;
            host.running = Some(Running { probe: probe.clone(), stop, stopped, exits_before });
            host.disk.clone()
        });
        let peer_port = self.peer_ports.borrow()[&node];
        let config = self.shape.config(node, shards, peer_port, listed);
        self.world.spawn_on(node, async move {
            run_node(disk, config, probe, stop_here).await;
            // Nobody waits when the node was killed meanwhile.
            let _ = done.send(());
        });
    }

    /// Whether a node was started, and neither killed nor stopped, and has not ended itself.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.reap(node);
        self.with(node, |host| host.running.is_some())
    }

    /// Takes note of a node that has ended itself.
    fn reap(&self, node: NodeId) {
        let exits = self.world.exits();
        let ended =
            |running: &Running| exits[running.exits_before.min(exits.len())..].iter().any(|exit| exit.node == node);
        let gone = self.with(node, |host| host.running.take_if(|running| ended(running)));
        drop(gone);
    }

    /// Kills a node's process; what it wrote is on its disk.
    pub fn kill(&self, node: NodeId) {
        self.world.kill(node);
        let gone = self.with(node, |host| host.running.take());
        drop(gone);
    }

    /// Cuts a host's power: the process is gone, and what was not durable is lost in part or whole.
    pub fn cut_power(&self, node: NodeId) {
        self.kill(node);
        self.disk(node).crash();
    }

    /// Asks a node to stop, waits until it has, at most for `limit`, and ends its process.
    pub async fn stop(&self, node: NodeId, limit: Duration) -> bool {
        let ends = self.with(node, |host| host.running.as_ref().map(|it| (it.stop.clone(), it.stopped.clone())));
        let Some((stop, stopped)) = ends else { return false };
        // A second stop finds the channel full: it stops already.
        let _ = stop.try_send(());
        let in_time = Sim::timeout(limit, stopped.recv_async()).await.is_some_and(|ended| ended.is_ok());
        self.kill(node);
        in_time
    }

    /// The disk of a node, which outlives the node's process.
    pub fn disk(&self, node: NodeId) -> SimDisk {
        self.with(node, |host| host.disk.clone())
    }

    /// The logs of these replicas are lost: none of them may ever run again.
    pub fn give_up(&self, replicas: impl IntoIterator<Item = (GroupId, ReplicaId)>) {
        self.given_up.borrow_mut().extend(replicas);
    }

    /// Whether the replica's log was lost.
    pub fn is_given_up(&self, group: GroupId, replica: ReplicaId) -> bool {
        self.given_up.borrow().contains(&(group, replica))
    }

    /// Where a node keeps its data.
    pub fn data_dir() -> &'static str {
        DATA_DIR
    }

    /// A look into a node; `None` while it is down.
    pub fn probe(&self, node: NodeId) -> Option<Probe> {
        self.reap(node);
        self.with(node, |host| host.running.as_ref().map(|running| running.probe.clone()))
    }

    /// The process number of the client `index`.
    pub fn client_node(index: u64) -> NodeId {
        FIRST_CLIENT + index
    }

    /// A client that knows all endpoints. To be called by a task of the client's own process.
    pub fn client(&self) -> SimClient {
        SimClient::new(self.shape.endpoints())
    }
}
