//! What a client counts while a phase runs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// An hour in nanoseconds: what takes longer counts as this.
const LONGEST_NANOS: u64 = 3_600_000_000_000;

/// What a phase came to for one client.
#[derive(Debug)]
pub(crate) struct Tally {
    pub latencies: Histogram<u64>,
    pub errors: BTreeMap<String, u64>,
    pub last_answer: Option<Instant>,
    pub late: Late,
}

/// Operations of an open loop that were due while everything in flight was under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Late {
    pub ops: u64,
    pub longest: Duration,
}

impl Late {
    pub(crate) fn add(&mut self, other: Self) {
        self.ops += other.ops;
        self.longest = self.longest.max(other.longest);
    }
}

/// Latencies in nanoseconds, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NANOS, 3).expect("the bounds are in order")
}
