//! The flags of `bench`, and the plans that they stand for.

use std::time::Duration;

use clap::{Args, ValueEnum};
use kahuna::units::Span;
use kahuna_bench::{MAX_TIME, Plan, Stop, Workload};

use super::super::client_args::ClientArgs;
use super::super::exit::{Exit, Failure};
use super::super::freshness::Freshness;
use super::{single, sweep};

/// What an open loop may have under way unless something else is said.
const OPEN_LOOP_IN_FLIGHT: usize = 1024;
/// Where a sweep ends unless something else is said.
const SWEEP_IN_FLIGHT: usize = 1024;
/// How many clients a sweep tries unless something else is said.
const SWEEP_CONNECTIONS: [usize; 2] = [1, 64];

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// What one operation is
    #[arg(value_enum)]
    workload: Work,
    /// Operations under way at once, at most [default: 1; with --rate as many as it takes, up to 1024; with --sweep 1024]
    #[arg(long)]
    in_flight: Option<usize>,
    /// Clients, each with its own session and connections; several numbers only with --sweep [default: 1; with --sweep 1,64]
    #[arg(long, value_delimiter = ',', value_name = "CONNECTIONS,...")]
    connections: Option<Vec<usize>>,
    /// Measure 1, 2, 4, ... operations under way, up to --in-flight, for each number of connections, and name the knee
    #[arg(long, conflicts_with = "rate")]
    sweep: bool,
    /// Bytes of a value
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// Keys, locks or sequences used, in turn [default: 10000; 16 sequences]
    #[arg(long)]
    keys: Option<u64>,
    /// Stop after this many operations; with as many keys each is used once
    #[arg(long, conflicts_with = "seconds")]
    ops: Option<u64>,
    /// Stop after this many seconds [default: 10; with --sweep 3 for each point]
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

impl From<Work> for Workload {
    fn from(work: Work) -> Self {
        match work {
            Work::Set => Self::Set,
            Work::Get => Self::Get,
            Work::Lock => Self::Lock,
            Work::Seq => Self::Seq,
        }
    }
}

/// Measures and prints.
pub fn run(args: BenchArgs, client: &ClientArgs) -> Result<Exit, Failure> {
    if args.sweep {
        let most = args.in_flight.unwrap_or(SWEEP_IN_FLIGHT);
        let fitting = || SWEEP_CONNECTIONS.into_iter().filter(|count| *count == 1 || *count <= most).collect();
        let connections = args.connections.clone().unwrap_or_else(fitting);
        let plan = args.plan(client, most, 1)?;
        return sweep::run(&plan, &connections, client.format());
    }
    let connections = match args.connections.as_deref() {
        None => 1,
        Some([connections]) => *connections,
        Some(_) => return Err(Failure::Usage("several numbers of --connections are for --sweep".to_owned())),
    };
    let in_flight = args.in_flight.unwrap_or_else(|| args.default_in_flight().max(connections));
    single::run(&args.plan(client, in_flight, connections)?, client.format())
}

impl BenchArgs {
    fn plan(&self, client: &ClientArgs, in_flight: usize, connections: usize) -> Result<Plan, Failure> {
        let seconds = self.seconds.unwrap_or(if self.sweep { 3.0 } else { 10.0 });
        let no_time = |_| Failure::Usage(format!("--seconds {seconds:?} is not from 0 to {}", MAX_TIME.as_secs()));
        let time = Duration::try_from_secs_f64(seconds).map_err(no_time)?;
        Ok(Plan {
            endpoints: client.endpoints(),
            workload: self.workload.into(),
            in_flight,
            connections,
            value_bytes: self.value_bytes,
            keys: self.keys(),
            stop: self.ops.map_or(Stop::After(time), Stop::Ops),
            warmup: self.warmup.map_or(Duration::from_secs(1), |span| span.0),
            rate: self.rate,
            read: self.read.into(),
            timeout: client.timeout.map_or(Duration::from_secs(5), |span| span.0),
        })
    }

    fn keys(&self) -> u64 {
        self.keys.unwrap_or(if matches!(self.workload, Work::Seq) { 16 } else { 10_000 })
    }

    /// A closed loop measures one operation at a time; an open one must not wait for answers.
    fn default_in_flight(&self) -> usize {
        match (self.rate, self.workload) {
            (None, _) => 1,
            // Each lock under way needs a key of its own.
            (Some(_), Work::Lock) => usize::try_from(self.keys()).unwrap_or(usize::MAX).min(OPEN_LOOP_IN_FLIGHT),
            (Some(_), _) => OPEN_LOOP_IN_FLIGHT,
        }
    }
}
