//! What shall be measured.

use std::time::Duration;

use kahuna_protocol::ReadLevel;

/// What one operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A set of one key, no condition.
    Set,
    /// A get of one key that exists.
    Get,
    /// A lock taken and given back: two requests, one after the other, of a lock that nobody else wants.
    Lock,
    /// The next value of a sequence.
    Seq,
}

impl Workload {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Get => "get",
            Self::Lock => "lock",
            Self::Seq => "seq",
        }
    }
}

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After this many operations. With as many keys, each key is used once.
    Ops(u64),
    /// After this long.
    After(Duration),
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to look for the cluster, `host:port` each.
    pub endpoints: Vec<String>,
    /// What one operation is.
    pub workload: Workload,
    /// Operations under way at once, all clients together; above 0.
    pub in_flight: usize,
    /// Clients: a thread each, with its own session and its own connection to every shard it needs; above 0.
    pub connections: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Keys, locks or sequences used, in turn; above 0, and for locks at least `in_flight`.
    pub keys: u64,
    /// When to stop.
    pub stop: Stop,
    /// Operations that begin within this time are not counted.
    pub warmup: Duration,
    /// Operations per second to begin (open loop: latency counts from when an operation was due); without it the next
    /// operation begins when one ends (closed loop).
    pub rate: Option<f64>,
    /// What reads may show.
    pub read: ReadLevel,
    /// How long a node has for a request.
    pub timeout: Duration,
}
