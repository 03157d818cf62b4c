//! The configuration of a node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use kahuna_protocol::meta::Settings;
use kahuna_protocol::{Limits, NodeId};

/// Most data partitions of a cluster. Their placement is one record of the meta group's log, which half of the smallest segment
/// must hold with five replicas of each, and their map is in every handshake with a client. A node runs all of those placed on
/// it, and each takes memory, some 100 KB, while it is idle.
pub const MAX_PARTITIONS: u32 = 4096;

/// Data partitions of a fresh cluster for which nothing else is said.
pub const DEFAULT_PARTITIONS: u32 = 16;

/// A node of the first cluster, as `--peers` lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerSpec {
    /// Number that the operator gave the node, from 1.
    pub node: NodeId,
    /// Where its peers reach it, `host:port`.
    pub address: String,
}

/// Raft's times. `election_max` is the lease, the window of writes without a leader, and the boot wait at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between heartbeats of a leader and of a node.
    pub heartbeat: Duration,
    /// Shortest election timeout.
    pub election_min: Duration,
    /// Longest election timeout.
    pub election_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(150),
            election_max: Duration::from_millis(300),
        }
    }
}

/// The longest election timeout: for so long nothing is written once a leader is gone.
pub const MAX_ELECTION: Duration = Duration::from_secs(600);

/// Raft's times do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// No heartbeat at all, in Raft's unit.
    #[error("--heartbeat {0:?}: times count in whole milliseconds, and this one is 1ms or more")]
    Heartbeat(Duration),
    /// A leader whose heartbeat is late once would be taken for dead.
    #[error(
        "--heartbeat {heartbeat:?}, --election-min {election_min:?}: the shortest election timeout must be two heartbeats or \
         more, in whole milliseconds"
    )]
    Shortest {
        /// Between heartbeats.
        heartbeat: Duration,
        /// The shortest election timeout.
        election_min: Duration,
    },
    /// All replicas would campaign at the same moment.
    #[error(
        "--election-min {election_min:?}, --election-max {election_max:?}: the longest election timeout must be above the \
         shortest, in whole milliseconds"
    )]
    Longest {
        /// The shortest election timeout.
        election_min: Duration,
        /// Upper end of the interval that election timeouts are drawn from.
        election_max: Duration,
    },
    /// Beyond [`MAX_ELECTION`].
    #[error("--election-max {0:?}: at most {MAX_ELECTION:?}, for nothing is written for so long when a leader is gone")]
    TooLong(Duration),
}

impl Timing {
    /// Whether these times go together in Raft's unit, whole milliseconds, to which they are cut.
    ///
    /// # Errors
    /// Which of them do not, by the names of their flags.
    pub fn check(&self) -> Result<(), TimingError> {
        let Self { heartbeat, election_min, election_max } = *self;
        if heartbeat.as_millis() == 0 {
            return Err(TimingError::Heartbeat(heartbeat));
        }
        if election_min.as_millis() < 2 * heartbeat.as_millis() {
            return Err(TimingError::Shortest { heartbeat, election_min });
        }
        if election_max.as_millis() <= election_min.as_millis() {
            return Err(TimingError::Longest { election_min, election_max });
        }
        if election_max > MAX_ELECTION {
            return Err(TimingError::TooLong(election_max));
        }
        Ok(())
    }

    /// A node of which nothing was heard for so long is taken for down.
    pub fn silent_after(&self) -> Duration {
        self.election_min.max(3 * self.heartbeat)
    }

    /// By how much less than its followers grant it a leader trusts its lease: what confirms it may be counted from so much
    /// after the moment at which it was asked.
    pub fn lease_margin(&self) -> Duration {
        self.election_max / 6
    }
}

/// Everything a node needs to know to start. Addresses are bound as they are; names are resolved by the caller.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This node's number, above 0.
    pub node: NodeId,
    /// Where its data lives.
    pub data_dir: PathBuf,
    /// Where clients connect; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where peers connect; port 0 takes a free one.
    pub peer_listen: SocketAddr,
    /// All nodes of the first cluster, this one included; empty for a cluster of one.
    pub peers: Vec<PeerSpec>,
    /// The address that clients get instead of `listen`.
    pub advertise: Option<String>,
    /// The address that peers get instead of `peer_listen`.
    pub peer_advertise: Option<String>,
    /// How many shards (executors, logs) to run, above 0.
    pub shards: u16,
    /// The CPUs that shards are pinned to, in turn; empty leaves them unbound.
    pub cpus: Vec<usize>,
    /// Data partitions: 16 for a fresh cluster when not given, at most [`MAX_PARTITIONS`], fixed from then on; another value is
    /// refused later.
    pub partitions: Option<u32>,
    /// What is accepted from clients.
    pub limits: Limits,
    /// What every replica must agree on; fixed when the cluster is made.
    pub settings: Settings,
    /// Raft's times.
    pub timing: Timing,
    /// Size of one log segment in bytes, a multiple of 4 KiB.
    pub segment_bytes: u64,
    /// A group takes a snapshot when its log since the last one is longer than this, in bytes.
    pub snapshot_log_bytes: u64,
    /// Memory that the executor may register for I/O on each shard, in bytes.
    pub io_memory_bytes: usize,
    /// Added to the wall clock, in milliseconds: for tests of clock skew.
    pub wall_clock_offset_ms: i64,
}

impl NodeConfig {
    /// Whether clients and peers would meet at one address and port.
    pub fn has_one_door(&self) -> bool {
        let (clients, peers) = (self.listen, self.peer_listen);
        let one_host = clients.ip() == peers.ip() || clients.ip().is_unspecified() || peers.ip().is_unspecified();
        clients.port() != 0 && clients.port() == peers.port() && one_host
    }
}
