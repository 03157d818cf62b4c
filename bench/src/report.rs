//! What was measured.

use std::time::Duration;

use hdrhistogram::Histogram;
use kahuna_protocol::ReadLevel;
use serde::Serialize;

use crate::plan::Plan;
use crate::tally::Late;

/// The figures of one measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What one operation was.
    pub workload: &'static str,
    /// Operations that succeeded.
    pub ops: u64,
    /// Of those, per second.
    pub ops_per_s: f64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// Operations that were refused, lost, or found what they should not.
    pub errors: u64,
    /// What kind of error came how often, most frequent first.
    pub error_kinds: Vec<(String, u64)>,
    /// What a write had to survive before it was acknowledged.
    pub durability: &'static str,
    /// What reads were allowed to show.
    pub read_level: &'static str,
    /// Operations under way at once.
    pub in_flight: usize,
    /// Clients.
    pub connections: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Keys, locks or sequences used.
    pub keys: u64,
    /// Operations that were to begin per second; none for a closed loop.
    pub rate: Option<f64>,
    /// Operations of an open loop that were due while everything in flight was under way: the rate was not kept; none for
    /// a closed loop.
    pub late_ops: Option<u64>,
    /// The longest that one of them waited to begin, in microseconds.
    pub late_max_us: Option<f64>,
    /// How long the counted part took.
    pub seconds: f64,
}

impl Report {
    pub(crate) fn new(
        plan: &Plan,
        latencies: &Histogram<u64>,
        errors: Vec<(String, u64)>,
        late: Late,
        took: Duration,
    ) -> Self {
        let micros = |nanos: u64| (nanos as f64 / 100.0).round() / 10.0;
        let at = |quantile: f64| micros(latencies.value_at_quantile(quantile));
        let ops = latencies.len();
        Self {
            workload: plan.workload.name(),
            ops,
            ops_per_s: (ops as f64 / took.as_secs_f64().max(1e-9)).round(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: micros(latencies.max()),
            errors: errors.iter().map(|(_, count)| count).sum(),
            error_kinds: errors,
            durability: "persistent",
            read_level: match plan.read {
                ReadLevel::Linearizable => "linearizable",
                ReadLevel::Lease => "lease",
                ReadLevel::Stale => "stale",
            },
            in_flight: plan.in_flight,
            connections: plan.connections,
            value_bytes: plan.value_bytes,
            keys: plan.keys,
            rate: plan.rate,
            late_ops: plan.rate.map(|_| late.ops),
            late_max_us: plan.rate.map(|_| micros(u64::try_from(late.longest.as_nanos()).unwrap_or(u64::MAX))),
            seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Stop, Workload};
    use crate::tally::histogram;

    #[test]
    fn figures_are_microseconds_to_a_tenth() {
        let mut latencies = histogram();
        for nanos in [100_000, 100_000, 100_000, 9_000_000] {
            latencies.saturating_record(nanos);
        }
        latencies.saturating_record(u64::MAX);
        let plan = Plan {
            endpoints: Vec::new(),
            workload: Workload::Set,
            in_flight: 1,
            connections: 1,
            value_bytes: 1,
            keys: 1,
            stop: Stop::Ops(5),
            warmup: Duration::ZERO,
            rate: None,
            read: ReadLevel::Linearizable,
            timeout: Duration::from_secs(1),
        };
        let late = Late { ops: 3, longest: Duration::from_millis(2) };
        let errors = vec![("busy".to_owned(), 2)];
        let report = Report::new(&plan, &latencies, errors.clone(), late, Duration::from_millis(500));
        assert!((report.p50_us - 100.0).abs() < 0.2, "{report:?}");
        assert!(report.max_us > 3.5e9, "{report:?}");
        assert_eq!((report.ops, report.errors), (5, 2));
        assert_eq!(report.ops_per_s, 10.0);
        assert_eq!((report.late_ops, report.late_max_us), (None, None), "a closed loop has no schedule");
        let open = Report::new(&Plan { rate: Some(1.0), ..plan }, &latencies, errors, late, Duration::from_millis(500));
        assert_eq!((open.late_ops, open.late_max_us), (Some(3), Some(2000.0)));
    }
}
