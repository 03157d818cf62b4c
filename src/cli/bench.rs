//! `bench`: figures of a running cluster.

use std::time::Duration;

use clap::{Args, ValueEnum};
use kahuna::units::Span;
use kahuna_bench::{BenchError, MAX_TIME, Plan, Report, Stop, Workload};

use super::client_args::ClientArgs;
use super::exit::{Exit, Failure};
use super::freshness::Freshness;
use super::output::{Record, print};

/// What an open loop may have under way unless something else is said.
const OPEN_LOOP_IN_FLIGHT: usize = 1024;

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// What one operation is
    #[arg(value_enum)]
    workload: Work,
    /// Operations under way at once, at most [default: 1; with --rate as many as it takes, up to 1024]
    #[arg(long)]
    in_flight: Option<usize>,
    /// Clients, each with its own session and connections
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// Keys, locks or sequences used, in turn [default: 10000; 16 sequences]
    #[arg(long)]
    keys: Option<u64>,
    /// Stop after this many operations; with as many keys each is used once
    #[arg(long, conflicts_with = "seconds")]
    ops: Option<u64>,
    /// Stop after this many seconds [default: 10]
    #[arg(long)]
    seconds: Option<f64>,
    /// Not counted before; only without --ops [default: 1s]
    #[arg(long, conflicts_with = "ops")]
    warmup: Option<Span>,
    /// Begin this many operations per second, however fast answers come (open loop)
    #[arg(long)]
    rate: Option<f64>,
    /// How fresh a get must be
    #[arg(long, value_enum, default_value_t)]
    read: Freshness,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Work {
    /// Set a key
    Set,
    /// Get a key
    Get,
    /// Take a lock and give it back
    Lock,
    /// Draw the next value of a sequence
    Seq,
}

/// Measures and prints.
pub fn run(args: BenchArgs, client: &ClientArgs) -> Result<Exit, Failure> {
    let workload = match args.workload {
        Work::Set => Workload::Set,
        Work::Get => Workload::Get,
        Work::Lock => Workload::Lock,
        Work::Seq => Workload::Seq,
    };
    let seconds = args.seconds.unwrap_or(10.0);
    let no_time = |_| Failure::Usage(format!("--seconds {seconds:?} is not from 0 to {}", MAX_TIME.as_secs()));
    let time = Duration::try_from_secs_f64(seconds).map_err(no_time)?;
    let stop = args.ops.map_or(Stop::After(time), Stop::Ops);
    let keys = args.keys.unwrap_or(if workload == Workload::Seq { 16 } else { 10_000 });
    let plan = Plan {
        endpoints: client.endpoints(),
        workload,
        in_flight: args.in_flight.unwrap_or_else(|| in_flight(workload, args.rate, keys).max(args.connections)),
        connections: args.connections,
        value_bytes: args.value_bytes,
        keys,
        stop,
        warmup: args.warmup.map_or(Duration::from_secs(1), |span| span.0),
        rate: args.rate,
        read: args.read.into(),
        timeout: client.timeout.map_or(Duration::from_secs(5), |span| span.0),
    };
    let report = kahuna_bench::run(&plan).map_err(|error| match error {
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
    print(&record(&report), client.format())?;
    Ok(if report.ops == 0 { Exit::Unavailable } else { Exit::Ok })
}

/// A closed loop measures one operation at a time; an open one must not wait for answers.
fn in_flight(workload: Workload, rate: Option<f64>, keys: u64) -> usize {
    match (rate, workload) {
        (None, _) => 1,
        // Each lock under way needs a key of its own.
        (Some(_), Workload::Lock) => usize::try_from(keys).unwrap_or(usize::MAX).min(OPEN_LOOP_IN_FLIGHT),
        (Some(_), _) => OPEN_LOOP_IN_FLIGHT,
    }
}

fn record(report: &Report) -> Record {
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
