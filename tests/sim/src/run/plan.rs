//! What a seed decides before anything runs.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    SimRng,
    check::ClockBounds,
    claims::Workload,
    cluster::Shape,
    finding::{Finding, Judge},
    nemesis::{Clocks, SimFault, Struck},
};

const STREAM_PLAN: u64 = 10;
const STREAM_NEMESIS: u64 = 11;
const STREAM_CLIENTS: u64 = 1000;
/// The shortest and the longest log that makes a snapshot due, in bytes.
const SNAPSHOT_LOG_BYTES: (u64, u64) = (3 << 10, 16 << 10);

/// Disks of a cluster: an operation takes from so many to so many nanoseconds. On a slow one much is under way at any
/// moment, and lost with the power.
const DISK_NANOS: [(u64, u64); 3] = [(20_000, 200_000), (200_000, 4_000_000), (2_000_000, 20_000_000)];

/// How long clients think at most, in milliseconds: many operations at every moment, or more faults for each of them.
const THINK_MS: [u64; 4] = [40, 60, 100, 160];

/// Longer than any run.
const ANY_TIME: Duration = Duration::from_secs(86_400);

/// Of so many runs one has a node with a clock that is far off, and one has clocks that are set back together.
const WRONG_CLOCKS_ONE_IN: u64 = 6;

/// A run before it runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// Nodes, shards and partitions of the cluster.
    pub shape: Shape,
    /// Shards of each node at its first start.
    pub shards: Vec<u16>,
    /// Client processes.
    pub clients: u64,
    /// How long each of them thinks between two operations at most, in milliseconds.
    pub think_ms: u64,
    /// How wrong wall clocks may be.
    pub clocks: Clocks,
    /// How long faults happen, in virtual time.
    pub faults_for: Duration,
    /// The numbers of the faults that happen; all if absent.
    pub only_faults: Option<BTreeSet<u64>>,
    /// The clients that there are; all if absent.
    pub only_clients: Option<BTreeSet<u64>>,
    /// What they do; everything if absent.
    pub only_workloads: Option<BTreeSet<Workload>>,
    /// A run in which faults of all these kinds happen counts as broken, unless there are none: to try out what is done
    /// about a run that fails.
    pub forbidden: BTreeSet<SimFault>,
}

impl Plan {
    /// The plan of `seed`, in which faults happen for `faults_for`.
    pub fn new(seed: u64, faults_for: Duration) -> Self {
        let rng = SimRng::new(seed, STREAM_PLAN);
        let mut shape = Shape::small(if rng.below(3) == 0 { 5 } else { 3 });
        shape.partitions = rng.between(1, 4) as u32;
        shape.snapshot_log_bytes = rng.between(SNAPSHOT_LOG_BYTES.0, SNAPSHOT_LOG_BYTES.1);
        shape.disk_nanos = DISK_NANOS[rng.below(DISK_NANOS.len() as u64) as usize];
        let shards = shape.numbers().map(|_| rng.between(1, 3) as u16).collect();
        let clients = rng.between(4, 8);
        let think_ms = THINK_MS[rng.below(THINK_MS.len() as u64) as usize];
        let clocks = match rng.below(WRONG_CLOCKS_ONE_IN) {
            0 => Clocks::Wild(rng.between(1, shape.nodes)),
            1 => Clocks::SetBack,
            _ => Clocks::Near,
        };
        Self {
            seed,
            shape,
            shards,
            clients,
            think_ms,
            clocks,
            faults_for,
            only_faults: None,
            only_clients: None,
            only_workloads: None,
            forbidden: BTreeSet::new(),
        }
    }

    /// Whether all clients are there and do everything.
    pub(super) fn has_all_clients(&self) -> bool {
        self.only_clients.is_none() && self.only_workloads.is_none()
    }

    /// How good the clocks are that nodes go by. Faults keep all wall clocks within half of the skew, or nodes go by others.
    /// Where that may set them back, what ends by time ends late.
    pub(super) fn clock_bounds(&self) -> ClockBounds {
        let skew = Duration::from_millis(self.shape.settings.max_clock_skew_ms.into());
        let late = if self.clocks == Clocks::Near { Duration::ZERO } else { ANY_TIME };
        ClockBounds { error: skew / 2, skew, late }
    }

    /// A finding if faults of all forbidden kinds have happened.
    pub(super) fn judge_forbidden(&self, struck: &[Struck]) -> Option<Finding> {
        let kinds: BTreeSet<SimFault> = struck.iter().map(|struck| struck.fault).collect();
        let broken = !self.forbidden.is_empty() && self.forbidden.is_subset(&kinds);
        broken.then(|| Finding::new(Judge::Forbidden, format!("{:?} happened", self.forbidden)))
    }

    /// The clients that there are.
    pub(super) fn clients(&self) -> impl Iterator<Item = u64> + use<'_> {
        let only = self.only_clients.as_ref();
        (0..self.clients).filter(move |client| only.is_none_or(|only| only.contains(client)))
    }

    /// What the clients do.
    pub(super) fn workloads(&self) -> BTreeSet<Workload> {
        self.only_workloads.clone().unwrap_or_else(|| Workload::all().collect())
    }

    pub(super) fn nemesis_rng(&self) -> SimRng {
        SimRng::new(self.seed, STREAM_NEMESIS)
    }

    pub(super) fn client_rng(&self, client: u64) -> SimRng {
        SimRng::new(self.seed, STREAM_CLIENTS + client)
    }
}
