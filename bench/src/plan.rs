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

/// Bounds of a plan: what one machine can keep, and times that clocks can add.
const MAX_IN_FLIGHT: usize = 1 << 20;
const MAX_CONNECTIONS: usize = 4_096;
const MAX_VALUE_BYTES: usize = 256 << 20;
const RATES: std::ops::RangeInclusive<f64> = 0.001..=1e9;
/// Longest time that a plan may have.
pub const MAX_TIME: Duration = Duration::from_secs(366 * 86_400);

impl Plan {
    /// Why nobody can measure that; `None` if one can. [`run`](crate::run) asks, too.
    pub fn contradiction(&self) -> Option<String> {
        let Self { in_flight, connections, value_bytes, keys, .. } = *self;
        if in_flight == 0 || connections == 0 || keys == 0 {
            return Some("in-flight, connections and keys must be above 0".to_owned());
        }
        let time = if let Stop::After(time) = self.stop { time } else { Duration::ZERO };
        let bounds = [
            (in_flight > MAX_IN_FLIGHT, format!("{in_flight} in flight are more than {MAX_IN_FLIGHT}")),
            (connections > MAX_CONNECTIONS, format!("{connections} connections are more than {MAX_CONNECTIONS}")),
            (value_bytes > MAX_VALUE_BYTES, format!("values of {value_bytes} bytes are longer than {MAX_VALUE_BYTES}")),
            (time > MAX_TIME, format!("{time:?} are longer than {MAX_TIME:?}")),
            (self.warmup > MAX_TIME, format!("a warm-up of {:?} is longer than {MAX_TIME:?}", self.warmup)),
            (self.timeout > MAX_TIME, format!("a timeout of {:?} is longer than {MAX_TIME:?}", self.timeout)),
        ];
        if let Some((_, text)) = bounds.into_iter().find(|(is_over, _)| *is_over) {
            return Some(text);
        }
        if connections > in_flight {
            return Some(format!("{connections} connections share {in_flight} in flight: each needs one"));
        }
        if self.workload == Workload::Lock && keys < in_flight as u64 {
            return Some(format!("{keys} keys for {in_flight} locks at once: each needs its own"));
        }
        let rate = self.rate.filter(|rate| !RATES.contains(rate))?;
        Some(format!("a rate of {rate:?} is not from {} to {}", RATES.start(), RATES.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            endpoints: Vec::new(),
            workload: Workload::Set,
            in_flight: 4,
            connections: 2,
            value_bytes: 256,
            keys: 8,
            stop: Stop::After(Duration::from_secs(10)),
            warmup: Duration::ZERO,
            rate: Some(1_000.0),
            read: ReadLevel::Linearizable,
            timeout: Duration::from_secs(1),
        }
    }

    fn is_refused(change: impl Fn(&mut Plan)) -> bool {
        let mut plan = plan();
        change(&mut plan);
        plan.contradiction().is_some()
    }

    #[test]
    fn what_nobody_can_measure_is_refused() {
        assert_eq!(plan().contradiction(), None);
        for rate in [0.0, -1.0, 1e-300, 1e300, f64::NAN, f64::INFINITY] {
            assert!(is_refused(|plan| plan.rate = Some(rate)), "rate {rate}");
        }
        for long in [Duration::MAX, Duration::from_secs_f64(1e19)] {
            assert!(is_refused(|plan| plan.stop = Stop::After(long)));
            assert!(is_refused(|plan| plan.warmup = long));
            assert!(is_refused(|plan| plan.timeout = long));
        }
        assert!(is_refused(|plan| plan.in_flight = 1_000_000_000_000));
        assert!(is_refused(|plan| plan.value_bytes = 5_000_000_000));
        assert!(is_refused(|plan| plan.connections = 5));
        assert!(is_refused(|plan| plan.keys = 0));
        assert!(is_refused(|plan| (plan.workload, plan.keys) = (Workload::Lock, 3)));
        assert!(is_refused(|plan| (plan.in_flight, plan.connections) = (10_000, 10_000)));
    }
}
