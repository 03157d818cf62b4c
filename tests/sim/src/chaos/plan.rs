//! The arguments of a run.

use std::{path::PathBuf, time::Duration};

use kahuna_protocol::Limits;
use serde::Serialize;

use crate::check::ClockBounds;

/// How many clients work on how few names, and how often faults happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// A few clients; a fault lasts for seconds, and the cluster is whole for seconds between two.
    Quiet,
    /// A dozen clients on each group of names; faults come faster than a lease ends.
    Hot,
}

/// A range of milliseconds to draw from, both ends included.
pub(super) type RangeMs = (u64, u64);

/// What a profile decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Temper {
    /// Clients of each group of names.
    pub clients_per_group: u64,
    /// Groups of names.
    pub groups: u64,
    /// How long a client thinks between two operations.
    pub think_ms: RangeMs,
    /// Between two episodes.
    pub calm_ms: RangeMs,
    /// How long a fault lasts.
    pub last_ms: RangeMs,
    /// Most faults at once.
    pub at_once: u64,
    /// How long faults happen between two times that the cluster must be whole.
    pub round: Duration,
}

impl Profile {
    pub(super) fn temper(self) -> Temper {
        match self {
            Self::Quiet => Temper {
                clients_per_group: 4,
                groups: 2,
                think_ms: (5, 60),
                calm_ms: (500, 2_500),
                last_ms: (200, 5_000),
                at_once: 1,
                round: Duration::from_secs(25),
            },
            Self::Hot => Temper {
                clients_per_group: 12,
                groups: 2,
                think_ms: (0, 25),
                calm_ms: (20, 300),
                last_ms: (50, 1_500),
                at_once: 2,
                round: Duration::from_secs(20),
            },
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Hot => "hot",
        }
    }
}

/// A run before it runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is drawn, is drawn from it.
    pub seed: u64,
    /// Processes of the cluster, from 3 on.
    pub nodes: usize,
    /// Clients and pace.
    pub profile: Profile,
    /// How long faults happen, the times between rounds included.
    pub duration: Duration,
    /// Path of the binary `kahuna` that every node runs.
    pub binary: PathBuf,
    /// Where history, report, picture and logs go. What an earlier run left there is replaced.
    pub out: PathBuf,
    /// Shards of each node.
    pub shards: u16,
    /// Data groups.
    pub partitions: u32,
    /// Between heartbeats.
    pub heartbeat: Duration,
    /// Shortest and longest election timeout.
    pub election: (Duration, Duration),
    /// While the cluster is whole every operation is answered within this.
    pub answer_within: Duration,
    /// How long the cluster may take to get whole once everything is mended.
    pub settle: Duration,
    /// What the wall clock of the second node is off, in milliseconds. It goes by the others' clocks.
    pub skew_ms: i64,
}

/// Longer than any run.
const ANY_TIME: Duration = Duration::from_secs(86_400);

impl Plan {
    /// How good the clocks are that nodes go by. Where one is set wrong, what ends by time may end late.
    pub(super) fn clock_bounds(&self) -> ClockBounds {
        let skew = Duration::from_millis(Limits::default().max_clock_skew_ms.into());
        let late = if self.skew_ms == 0 { Duration::ZERO } else { ANY_TIME };
        ClockBounds { error: skew / 2, skew, late }
    }
}
