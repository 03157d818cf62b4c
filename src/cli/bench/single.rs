//! One measurement.

use kahuna_bench::{BenchError, Plan, Report};

use super::super::exit::{Exit, Failure};
use super::super::output::{Format, Record, print};

/// Measures and prints.
pub fn run(plan: &Plan, format: Format) -> Result<Exit, Failure> {
    let report = measure(plan)?;
    print(&record(&report), format)?;
    Ok(if report.ops == 0 { Exit::Unavailable } else { Exit::Ok })
}

/// Measures, and says what went wrong meanwhile.
pub fn measure(plan: &Plan) -> Result<Report, Failure> {
    let report = kahuna_bench::run(plan).map_err(|error| match error {
        BenchError::Plan(text) => Failure::Usage(text),
        error => Failure::Other(Exit::Unavailable, error.to_string()),
    })?;
    for (kind, count) in &report.error_kinds {
        kahuna_shards::say!("{count} times {kind}");
    }
    if let (Some(rate), Some(late @ 1..)) = (report.rate, report.late_ops) {
        kahuna_shards::say!(
            "the rate of {rate} per second was not kept: {late} operations were due while all {} in flight were under way, and \
             began up to {:.1} ms late; latency counts from when they were due. Raise --in-flight, or lower --rate",
            report.in_flight,
            report.late_max_us.unwrap_or_default() / 1000.0
        );
    }
    Ok(report)
}

/// The figures of one measurement.
pub fn record(report: &Report) -> Record {
    Record::new("measured")
        .field("workload", report.workload)
        .field("ops", report.ops)
        .field("ops_per_s", report.ops_per_s)
        .field("p50_us", report.p50_us)
        .field("p99_us", report.p99_us)
        .field("p999_us", report.p999_us)
        .field("max_us", report.max_us)
        .field("errors", report.errors)
        .field("durability", report.durability)
        .field("read_level", report.read_level)
        .field("in_flight", report.in_flight)
        .field("connections", report.connections)
        .field("value_bytes", report.value_bytes)
        .field("keys", report.keys)
        .optional("rate", report.rate)
        .optional("late_ops", report.late_ops)
        .optional("late_max_us", report.late_max_us)
        .field("seconds", report.seconds)
}
