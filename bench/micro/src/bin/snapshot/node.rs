//! A shard with one replica of one group, alone in its group, on a real log.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use kahuna_machine::{Machine, Range};
use kahuna_protocol::meta::Settings;
use kahuna_protocol::{ClusterId, GroupId, Incarnation, Limits, NodeId, ReplicaId, ShardId};
use kahuna_shards::clock::Clock;
use kahuna_shards::config::Timing;
use kahuna_shards::env::{Env, ExitCode};
use kahuna_shards::linux::Linux;
use kahuna_shards::peer::{LocalNode, PeerLimits, Peers};
use kahuna_shards::raft::{Heartbeats, Replica, ReplicaContext};
use kahuna_wal::{Log, LogIdentity, LogOptions, UringDisk};

/// The group.
pub const GROUP: GroupId = GroupId(1);

/// What was started.
pub struct Node {
    /// The replica.
    pub replica: Rc<Replica<Linux>>,
    /// Its clock.
    pub clock: Rc<Clock<Linux>>,
    /// Its disk.
    pub disk: UringDisk,
    /// Where its snapshots are.
    pub snapshots: PathBuf,
}

impl Node {
    /// Starts node `number` in a directory of its own in `dir`. It takes no snapshot by itself.
    pub async fn start(dir: &Path, number: u32) -> Self {
        let dir = dir.join(format!("node-{number}"));
        let snapshots = dir.join("snapshots");
        let incarnation = Incarnation(1000 + u64::from(number));
        let clock: Rc<Clock<Linux>> = Clock::new(250).into();
        let local = LocalNode {
            node: NodeId(number),
            incarnation,
            boot_id: u64::from(number),
            shard: ShardId(0),
            shards: 1,
            client_address: "127.0.0.1:1".into(),
            peer_address: "127.0.0.1:1".into(),
            cluster: ClusterId([7; 16]),
            peer_set: Vec::new(),
        };
        let timing = Timing::default();
        let peers = Peers::new(local, clock.clone(), timing, PeerLimits::for_clients(&Limits::default()));
        let disk = kahuna_shards::linux::disk();
        let identity = LogIdentity { cluster: [7; 16], incarnation: incarnation.0, shard: 0 };
        let opened = Log::open(disk.clone(), &dir.join("log"), identity, LogOptions::default()).await;
        let (log, mut recovered) = opened.expect("a log of our own");
        let writer = log.clone();
        Linux::spawn(async move {
            writer.run().await.unwrap_or_else(|error| Linux::abort(ExitCode::DiskFailed, &error.to_string()));
        });
        let context = ReplicaContext {
            log,
            disk: disk.clone(),
            snapshot_dir: snapshots.clone(),
            peers,
            clock: clock.clone(),
            timing,
            boot_deadline: Duration::ZERO,
            snapshot_log_bytes: u64::MAX / 2,
            incarnation,
            heartbeats: Heartbeats::new(timing.heartbeat),
            campaigns: Rc::default(),
        };
        let empty = Machine::new(Settings::default(), Range::all(0));
        let recovered = recovered.groups.remove(&GROUP.0).unwrap_or_default();
        let replica = Replica::open(context, GROUP, ReplicaId(u64::from(number)), empty, recovered).await;
        let replica = replica.expect("a fresh replica");
        Self { replica, clock, disk, snapshots }
    }

    /// Makes it the only voter and waits until it leads.
    pub async fn lead(&self) {
        let id = self.replica.id();
        let members = [(id, Incarnation(1000 + id.0))];
        self.replica.initialize(&members).await.expect("a fresh group");
        while self.replica.read_index().await.is_err() {
            Linux::sleep(Duration::from_millis(5)).await;
        }
    }
}
