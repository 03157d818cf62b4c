//! Nodes with one replica of one group each, all on one thread: real logs, files and links over loopback.

use std::cell::RefCell;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kahuna_machine::{Machine, Range, Read};
use kahuna_protocol::batch::{Batch, BatchBuilder};
use kahuna_protocol::key::{Condition, KeyGet, KeySet};
use kahuna_protocol::limits::SHARD_REPLICATION_BYTES;
use kahuna_protocol::meta::Settings;
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{
    ClusterId, GroupId, Header, Incarnation, Limits, NodeId, Outcome, ReadLevel, ReplicaId, Request, RequestPrelude,
    RequestRef, ShardId,
};
use kahuna_shards::clock::Clock;
use kahuna_shards::config::Timing;
use kahuna_shards::env::{Env, ExitCode, Listener, Net};
use kahuna_shards::linux::{Linux, ShardOptions, Tcp, spawn_shard};
use kahuna_shards::peer::{
    AddressSource, LocalNode, PeerHandler, PeerIdentity, PeerLimits, PeerReplier, Peers, listen_to_peers,
};
use kahuna_shards::raft::{Heartbeats, OpenError, Replica, ReplicaContext, Sender};
use kahuna_wal::{Log, LogIdentity, LogOptions, UringDisk};

pub const GROUP: GroupId = GroupId(3);
/// Long enough that a test that runs into it has failed.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Runs `test` on a shard of its own.
pub fn on_shard(test: impl AsyncFnOnce(&Path) + Send + 'static) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_owned();
    let shard = spawn_shard(ShardOptions::new(0), move || async move {
        Linux::timeout(LIMIT, test(&path)).await.expect("in time");
    });
    shard.expect("a shard").join();
}

/// How nodes are started.
#[derive(Clone, Copy)]
pub struct Options {
    pub snapshot_log_bytes: u64,
    /// How long the boot gate holds.
    pub gate: Duration,
    /// Most bytes of messages that a node has not answered.
    pub unanswered_bytes: u64,
}

impl Options {
    pub const USUAL: Self =
        Self { snapshot_log_bytes: 64 << 20, gate: Duration::ZERO, unanswered_bytes: SHARD_REPLICATION_BYTES };
}

impl Default for Options {
    fn default() -> Self {
        Self::USUAL
    }
}

/// One node: a replica, its log and its links.
pub struct Node {
    pub number: u32,
    pub replica: Rc<Replica<Linux>>,
    pub peers: Rc<Peers<Linux>>,
    pub clock: Rc<Clock<Linux>>,
    pub log: Log<UringDisk>,
    pub address: String,
    writer: RefCell<Option<flume::Receiver<()>>>,
}

pub fn incarnation(number: u32) -> Incarnation {
    Incarnation(1000 + u64::from(number))
}

pub fn replica_id(number: u32) -> ReplicaId {
    ReplicaId(u64::from(number))
}

/// The replica of node `number` at the other end of a link.
pub fn sender(number: u32) -> Sender {
    Sender { replica: replica_id(number), incarnation: incarnation(number), boot: 1 }
}

pub fn timing() -> Timing {
    Timing::default()
}

pub fn empty() -> Machine {
    Machine::new(Settings::default(), Range::all(0))
}

pub fn snapshot_dir(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("node-{number}")).join("snapshots")
}

/// The newest snapshot of a node that has one; the one before it goes only after it is there.
pub fn newest_snapshot(dir: &Path, number: u32) -> PathBuf {
    let files = std::fs::read_dir(snapshot_dir(dir, number)).expect("it is there");
    let paths = files.map(|file| file.expect("readable").path());
    let index = |path: &PathBuf| {
        let (index, term) = path.file_stem()?.to_str()?.split_once('-')?;
        let numbers: (u64, u64) = (term.parse().ok()?, index.parse().ok()?);
        Some(numbers)
    };
    let snapshots = paths.filter(|path| path.extension().is_some_and(|end| end == "snap"));
    snapshots.max_by_key(index).expect("a snapshot")
}

/// Bytes that no packing makes shorter; others for another seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Damages a file, as a disk would.
pub fn flip(path: &Path, offset: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).expect("it is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("within the file");
    file.write_all_at(&[byte[0] ^ 4], offset).expect("writable");
}

/// Hands the messages of one group to its replica.
struct Handler(Rc<Replica<Linux>>);

impl PeerHandler for Handler {
    fn on_frame(
        self: Rc<Self>,
        from: PeerIdentity,
        prelude: PeerPrelude,
        header: Header,
        body: Bytes,
        reply: PeerReplier,
    ) {
        assert_eq!((prelude.group, prelude.to), (GROUP, self.0.id()));
        let sender = Sender { replica: prelude.from, incarnation: from.incarnation, boot: from.boot_id };
        Linux::spawn(async move {
            match self.0.on_message(sender, header.kind, body).await {
                Ok((kind, payload)) => reply.send(kind, |out| out.extend_from_slice(&payload)),
                Err(error) => reply.refuse(&error),
            }
        });
    }
}

/// Starts node `number` on what lies in its directory.
pub async fn try_start(dir: &Path, number: u32, options: Options) -> Result<Node, OpenError> {
    let dir = dir.join(format!("node-{number}"));
    let clock: Rc<Clock<Linux>> = Clock::new(250).into();
    let local = LocalNode {
        node: NodeId(number),
        incarnation: incarnation(number),
        boot_id: Linux::boot_clock().as_nanos() as u64 + u64::from(number),
        shard: ShardId(0),
        shards: 1,
        client_address: "127.0.0.1:1".into(),
        peer_address: "127.0.0.1:1".into(),
        cluster: ClusterId([7; 16]),
        peer_set: Vec::new(),
    };
    let limits =
        PeerLimits { unanswered_bytes: options.unanswered_bytes, ..PeerLimits::for_clients(&Limits::default()) };
    let peers = Peers::new(local, clock.clone(), timing(), limits);
    let listener = Tcp::listen("127.0.0.1:0".parse().expect("an address"), false).expect("a free port");
    let address = listener.local_addr().expect("it listens").to_string();
    peers.set_local_addresses(address.clone(), address.clone());

    let disk = kahuna_shards::linux::disk();
    let identity = LogIdentity { cluster: [7; 16], incarnation: incarnation(number).0, shard: 0 };
    let options_log = LogOptions { segment_bytes: 4 << 20, ..LogOptions::default() };
    let (log, mut recovered) =
        Log::open(disk.clone(), &dir.join("log"), identity, options_log).await.expect("a log of our own");
    let (ended, writer) = flume::bounded(1);
    let run = log.clone();
    Linux::spawn(async move {
        run.run().await.unwrap_or_else(|error| Linux::abort(ExitCode::DiskFailed, &error.to_string()));
        let _ = ended.send(());
    });
    let context = ReplicaContext {
        log: log.clone(),
        disk,
        snapshot_dir: dir.join("snapshots"),
        peers: peers.clone(),
        clock: clock.clone(),
        timing: timing(),
        boot_deadline: Linux::boot_clock() + options.gate,
        snapshot_log_bytes: options.snapshot_log_bytes,
        incarnation: incarnation(number),
        heartbeats: Heartbeats::new(timing().heartbeat),
        campaigns: Rc::default(),
    };
    let recovered = recovered.groups.remove(&GROUP.0).unwrap_or_default();
    let replica = match Replica::open(context, GROUP, replica_id(number), empty(), recovered).await {
        Ok(replica) => replica,
        Err(error) => {
            // Nobody else may open the log before this one has ended.
            log.close();
            Linux::across_threads(writer.recv_async()).await.expect("it ends");
            return Err(error);
        }
    };
    peers.set_handler(Rc::new(Handler(replica.clone())));
    Linux::spawn(listen_to_peers(peers.clone(), listener, |_, _, _| unreachable!("there is one shard")));
    Ok(Node { number, replica, peers, clock, log, address, writer: RefCell::new(Some(writer)) })
}

pub async fn start(dir: &Path, number: u32, options: Options) -> Node {
    try_start(dir, number, options).await.expect("the node starts")
}

/// Tells all nodes where the others are.
pub fn introduce(nodes: &[&Node]) {
    for node in nodes {
        let others = nodes.iter().filter(|other| other.number != node.number);
        let addresses = others
            .map(|other| (NodeId(other.number), Some(incarnation(other.number)), other.address.clone()))
            .collect();
        node.peers.set_addresses(AddressSource::Listed, addresses);
    }
}

pub fn members(numbers: &[u32]) -> Vec<(ReplicaId, Incarnation)> {
    numbers.iter().map(|&number| (replica_id(number), incarnation(number))).collect()
}

/// Three nodes that know each other, the group initialised by the first.
pub async fn three(dir: &Path, options: Options) -> [Node; 3] {
    let nodes = [start(dir, 1, options).await, start(dir, 2, options).await, start(dir, 3, options).await];
    introduce(&[&nodes[0], &nodes[1], &nodes[2]]);
    nodes[0].replica.initialize(&members(&[1, 2, 3])).await.expect("a fresh group");
    nodes
}

impl Node {
    /// Stops as a drained node does.
    pub async fn stop(&self) {
        self.replica.shutdown().await;
        self.peers.close();
        self.log.close();
        let writer = self.writer.take().expect("stopped once");
        Linux::across_threads(writer.recv_async()).await.expect("the log ends");
    }

    /// Sets a key, and says its revision.
    pub async fn set(&self, key: &str, value: &[u8]) -> u64 {
        let outcomes = self.replica.propose(set_batch(&self.clock, key, value)).await;
        revision(&outcomes.expect("this node leads"))
    }

    /// What this replica has applied under `key`.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let request = Request::from(KeyGet { key: key.as_bytes().to_vec(), revision: None, as_of: None });
        let mut body = Vec::new();
        request.encode_body(&mut body);
        let request = RequestRef::access(request.kind(), &body).expect("just encoded");
        let machine = self.replica.machine().borrow();
        match machine.read(request, 0, ReadLevel::Stale) {
            Read::Answer(Outcome::Value(value)) => Some(value.value),
            Read::Answer(Outcome::NotFound(_)) => None,
            other => panic!("{other:?}"),
        }
    }

    /// Equal on replicas that applied the same.
    pub fn hash(&self) -> u64 {
        self.replica.machine().borrow().hash()
    }

    /// Returns once this replica has applied as much as `leader` has now.
    pub async fn catch_up_with(&self, leader: &Self) {
        let index = leader.replica.applied_index();
        if let Some(before) = index.checked_sub(1) {
            self.replica.applied_beyond(before).await;
        }
    }
}

/// A batch of one set.
pub fn set_batch(clock: &Clock<Linux>, key: &str, value: &[u8]) -> Batch {
    let request = Request::from(KeySet {
        key: key.as_bytes().to_vec(),
        value: value.to_vec(),
        ttl_ms: None,
        condition: Condition::default(),
        no_history: true,
    });
    let mut body = Vec::new();
    request.encode_body(&mut body);
    let mut builder = BatchBuilder::new();
    builder.push(request.kind(), 0, &RequestPrelude::default(), &body);
    builder.finish(clock.stamp())
}

/// The revision that a batch of one set came to.
pub fn revision(outcomes: &[Outcome]) -> u64 {
    match outcomes {
        [Outcome::Set(set)] => set.revision,
        other => panic!("{other:?}"),
    }
}

/// The position of the node that leads the group, once one of `nodes` does and can write.
pub async fn leader_among(nodes: &[&Node]) -> usize {
    loop {
        if let Some(at) = nodes.iter().position(|node| node.replica.leader().leading)
            && nodes[at].replica.read_index().await.is_ok()
        {
            return at;
        }
        // The event is any of several watches; which one, nobody knows before.
        Linux::sleep(Duration::from_millis(5)).await;
    }
}
