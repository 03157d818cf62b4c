//! What a world knows of its nodes: their clocks and their ends.

use kahuna_shards::env::ExitCode;

/// A node of the simulated cluster. Tasks belong to the node that spawned them and die with it.
pub type NodeId = u64;

/// Where a task runs: what it spawns runs there too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Strand {
    pub(super) node: NodeId,
    /// The shard, on a node that runs several; 0 for what belongs to none.
    pub(super) shard: u16,
}

/// The node of everything that is not part of the cluster: the test itself, its clients.
pub const OUTSIDE: NodeId = 0;

/// A node that ended itself by [`Env::abort`](kahuna_shards::env::Env::abort).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Which node.
    pub node: NodeId,
    /// Code with which the node ended its process.
    pub code: ExitCode,
    /// Line that the node printed before it ended.
    pub message: String,
    /// When, in nanoseconds of virtual time.
    pub at_nanos: u64,
}

/// 2025-01-01 00:00 UTC, minus the time virtual clocks begin with: what boot time zero is on the wall.
const EPOCH_NANOS: i64 = 1_735_689_600_000_000_000;

/// The wall clock of a node, as what it is ahead of the boot clock in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct WallClock {
    host: i64,
    /// Of the process, which looked at the host's when it started and whenever it was told to.
    process: i64,
}

impl Default for WallClock {
    fn default() -> Self {
        Self { host: EPOCH_NANOS, process: EPOCH_NANOS }
    }
}

impl WallClock {
    /// Moves the host's clock; the process does not notice.
    pub(super) fn jump(&mut self, nanos: i64) {
        self.host = self.host.saturating_add(nanos);
    }

    /// Lets the process look at the host's clock. Returns what it moved by.
    pub(super) fn resync(&mut self) -> i64 {
        let moved = self.host - self.process;
        self.process = self.host;
        moved
    }

    pub(super) fn process(self) -> i64 {
        self.process
    }
}
