//! How much clients do, and how fast: what differs between two worlds, and between two runs.

use std::{collections::BTreeSet, time::Duration};

use super::{Naming, Workload};

/// How clients work.
#[derive(Debug, Clone)]
pub(crate) struct Habits {
    /// How long they think between two operations, in milliseconds.
    pub think_ms: (u64, u64),
    /// What they do; steps of other kinds are left out, and the others stay what they were.
    pub workloads: BTreeSet<Workload>,
    /// What keys, locks and sequences are called.
    pub naming: Naming,
    /// Keys under one group of names, and locks.
    pub keys: u64,
    pub locks: u64,
    /// Bytes that a large value has more than others.
    pub large_bytes: usize,
    /// They wait at least so long while answers are demanded.
    pub patience_on_demand: Duration,
}
