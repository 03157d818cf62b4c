//! A cluster of processes, and what can be done to them.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kahuna_client::blocking::Client;
use kahuna_client::{CallOptions, Options};
use kahuna_protocol::key::KeyGet;
use kahuna_protocol::{GroupId, NodeId, RangeMap};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a cluster may take for anything before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Node {
    pub id: NodeId,
    pub client_address: String,
    pub peer_address: String,
    pub data_dir: PathBuf,
    child: Option<Child>,
}

pub struct Cluster {
    pub nodes: Vec<Node>,
    pub partitions: u32,
    shards: u16,
    dir: Option<TempDir>,
}

/// A port that was free a moment ago.
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").to_string()
}

impl Cluster {
    /// `count` nodes, formatted and configured by their flags, none started.
    pub fn new(count: u32, shards: u16, partitions: u32) -> Self {
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let dir = TempDir::new_in(target).expect("the target directory takes a directory");
        let nodes = (1..=count)
            .map(|id| Node {
                id: NodeId(id),
                client_address: free_address(),
                peer_address: free_address(),
                data_dir: dir.path().join(format!("node-{id}")),
                child: None,
            })
            .collect();
        Self { nodes, partitions, shards, dir: Some(dir) }
    }

    /// A running cluster in which every partition is led.
    pub fn running(count: u32, shards: u16, partitions: u32) -> Self {
        let mut cluster = Self::new(count, shards, partitions);
        (0..cluster.nodes.len()).for_each(|at| cluster.start(at));
        cluster.wait_until_led();
        cluster
    }

    pub fn dir(&self) -> &std::path::Path {
        self.dir.as_ref().expect("kept until the cluster is dropped").path()
    }

    pub fn start(&mut self, at: usize) {
        let shards = self.shards;
        self.start_with_shards(at, shards);
    }

    pub fn start_with_shards(&mut self, at: usize, shards: u16) {
        let command = self.command(at, shards);
        self.spawn(at, command);
    }

    pub fn command(&self, at: usize, shards: u16) -> Command {
        let peers: Vec<String> = self.nodes.iter().map(|node| format!("{}={}", node.id, node.peer_address)).collect();
        let node = &self.nodes[at];
        let mut command = Command::new(env!("CARGO_BIN_EXE_kahuna"));
        command
            .arg("serve")
            .args(["--node-id", &node.id.to_string()])
            .args(["--listen", &node.client_address])
            .args(["--peer-listen", &node.peer_address])
            .args(["--shards", &shards.to_string()])
            .args(["--partitions", &self.partitions.to_string()])
            .args(["--segment-size", "2MiB"])
            .arg("--data-dir")
            .arg(&node.data_dir);
        if self.nodes.len() > 1 {
            command.args(["--peers", &peers.join(",")]);
        }
        command
    }

    pub fn spawn(&mut self, at: usize, command: Command) {
        let log = self.log_path(at);
        let log = File::options().create(true).append(true).open(log).expect("the test's directory takes files");
        let again = log.try_clone().expect("a descriptor can be duplicated");
        self.spawn_to(at, command, log, again);
    }

    /// Starts a node whose lines go somewhere else than to its log.
    pub fn spawn_to(&mut self, at: usize, mut command: Command, out: impl Into<Stdio>, err: impl Into<Stdio>) {
        let node = &mut self.nodes[at];
        assert!(node.child.is_none(), "node {} runs already", node.id);
        node.child = Some(command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("the binary starts"));
    }

    fn log_path(&self, at: usize) -> PathBuf {
        self.dir().join(format!("node-{}.log", self.nodes[at].id))
    }

    /// What the node printed so far.
    pub fn printed(&self, at: usize) -> String {
        std::fs::read_to_string(self.log_path(at)).unwrap_or_default()
    }

    fn signal(&self, at: usize, signal: Signal) {
        let child = self.nodes[at].child.as_ref().expect("the node runs");
        kill_process(Pid::from_child(child), signal).expect("our own child takes signals");
    }

    pub fn pid(&self, at: usize) -> u32 {
        self.nodes[at].child.as_ref().expect("the node runs").id()
    }

    /// kill -9, and waits until the process is gone.
    pub fn kill(&mut self, at: usize) {
        let mut child = self.nodes[at].child.take().expect("the node runs");
        child.kill().expect("our own child can be killed");
        child.wait().expect("our own child can be waited for");
    }

    pub fn pause(&self, at: usize) {
        self.signal(at, Signal::STOP);
    }

    pub fn resume(&self, at: usize) {
        self.signal(at, Signal::CONT);
    }

    /// SIGTERM; returns the exit code.
    pub fn terminate(&mut self, at: usize) -> Option<i32> {
        self.signal(at, Signal::TERM);
        self.wait_for_exit(at)
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self, at: usize) -> bool {
        let child = self.nodes[at].child.as_mut().expect("the node was started");
        child.try_wait().expect("our own child can be waited for").is_some()
    }

    /// Waits until the process ends by itself.
    pub fn wait_for_exit(&mut self, at: usize) -> Option<i32> {
        let mut child = self.nodes[at].child.take().expect("the node runs");
        child.wait().expect("our own child can be waited for").code()
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.client_address.clone()).collect()
    }

    pub fn client(&self) -> Client {
        Client::new(Options { timeout: PATIENCE, ..Options::new(self.endpoints()) }).expect("a client starts")
    }

    /// A client that knows this one node and talks to nobody else.
    pub fn client_of(&self, at: usize) -> Client {
        let endpoint = self.nodes[at].client_address.clone();
        let options = Options { timeout: PATIENCE, follow_leaders: false, ..Options::new([endpoint]) };
        Client::new(options).expect("a client starts")
    }

    /// Returns once a linearizable read passes in every partition.
    pub fn wait_until_led(&self) {
        let client = self.client();
        for name in self.names_of_partitions() {
            client.get(name.clone()).unwrap_or_else(|error| panic!("{name} is not served: {error}"));
        }
    }

    /// Returns once every other node that runs reaches this one, and it all of them.
    pub fn wait_until_reached(&self, at: usize) {
        let running: Vec<&Node> = self.nodes.iter().filter(|node| node.child.is_some()).collect();
        let (client, id) = (self.client(), self.nodes[at].id);
        let reaches = |from: &Node| {
            let alive = client.status(from.client_address.as_str()).expect("the node answers").peers_alive;
            let mut wanted = running.iter().filter(|to| to.id != from.id && (to.id == id || from.id == id));
            wanted.all(|to| alive.contains(&to.id))
        };
        let until = Instant::now() + PATIENCE;
        while !running.iter().all(|node| reaches(node)) {
            assert!(Instant::now() < until, "node {id} and the others do not reach each other:\n{}", self.printed(at));
        }
    }

    /// A name for each partition, in order.
    pub fn names_of_partitions(&self) -> Vec<String> {
        let map = RangeMap::even(self.partitions);
        (1..=self.partitions)
            .map(|partition| {
                let mut names = (0..).map(|number| format!("probe-{number}"));
                names.find(|name| map.owner(name.as_bytes()) == Some(GroupId(partition))).expect("the hash spreads")
            })
            .collect()
    }

    /// The index of the node that leads the partition of `name`.
    pub fn leader_of(&self, name: &str) -> usize {
        let (client, until) = (self.client(), Instant::now() + PATIENCE);
        loop {
            assert!(Instant::now() < until, "no map names the leader of {name}");
            client.get(name).expect("the partition is served");
            let map = client.map().expect("a node answers");
            let group = map.ranges.owner(name.as_bytes()).expect("the map covers every name");
            let range = map.ranges.ranges.iter().find(|range| range.partition == group).expect("the owner's line");
            if let Some(at) = self.nodes.iter().position(|node| node.id == range.leader) {
                return at;
            }
        }
    }

    /// A read by this node alone.
    pub fn get_from(&self, at: usize, key: &str, timeout: Duration) -> Result<Option<Vec<u8>>, String> {
        let call = KeyGet { key: key.into(), revision: None, as_of: None };
        let options = CallOptions { timeout: Some(timeout), ..CallOptions::default() };
        match self.client_of(at).call_with(call, options) {
            Ok(kahuna_client::call::GetAnswer::Value(value)) => Ok(Some(value.value)),
            Ok(_) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Keeps the directory and says where it is.
    pub fn keep(&mut self) -> PathBuf {
        let dir = self.dir.take().expect("kept until now");
        dir.keep()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take() {
                // A child that ended by itself cannot be killed any more.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        if std::thread::panicking() && self.dir.is_some() {
            eprintln!("the nodes' output is in {}", self.keep().display());
        }
    }
}
