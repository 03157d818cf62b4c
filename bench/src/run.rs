//! A measurement from its plan to its report.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use kahuna_client::blocking::Client;
use kahuna_client::call::Stamped;
use kahuna_client::core::ServerTime;
use kahuna_client::wire::WireError;
use kahuna_client::{CallOptions, ClientError, Clock, Options};
use kahuna_protocol::key::KeyGet;
use kahuna_protocol::meta::MapGet;
use kahuna_protocol::{GroupId, SessionId};

use crate::driver::Driver;
use crate::job::Job;
use crate::pace::{Budget, Pace};
use crate::plan::{Plan, Stop};
use crate::report::Report;
use crate::tally::{Late, Tally, histogram};

/// How long a partition may take to be led.
const PATIENCE: Duration = Duration::from_secs(30);
/// Names looked at to find one in every partition.
const NAMES_TRIED: u64 = 1 << 20;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The plan contradicts itself.
    #[error("{0}")]
    Plan(String),
    /// The cluster cannot be reached, or stopped answering.
    #[error("{0}")]
    Cluster(#[from] WireError),
    /// A partition is not served.
    #[error("not served: {0}")]
    Unserved(String),
    /// What is measured could not be prepared.
    #[error("the preparation failed: {0}")]
    Preparation(String),
}

/// Prepares what is needed, then measures.
///
/// # Errors
/// See [`BenchError`]. Single operations that fail are counted in the report instead.
pub fn run(plan: &Plan) -> Result<Report, BenchError> {
    if let Some(text) = plan.contradiction() {
        return Err(BenchError::Plan(text));
    }
    let time = wait_until_served(plan)?;
    let mut drivers = connect(plan, &time)?;
    if let Some(job) = Job::preparation(plan.workload) {
        let tallies = phase(&mut drivers, job, &Budget::new(plan.keys, None), None, Instant::now())?;
        let Sum { latencies, errors, .. } = Sum::of(tallies);
        if latencies.len() < plan.keys {
            return Err(BenchError::Preparation(format!("{errors:?}")));
        }
    }
    let begin = Instant::now();
    let (budget, counted_from) = match plan.stop {
        Stop::Ops(most) => (Budget::new(most, None), begin),
        Stop::After(time) => {
            let counted_from = begin + plan.warmup;
            (Budget::new(u64::MAX, Some(counted_from + time)), counted_from)
        }
    };
    let tallies = phase(&mut drivers, Job::measured(plan.workload), &budget, plan.rate, counted_from)?;
    let Sum { latencies, errors, last, late } = Sum::of(tallies);
    let took = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(counted_from));
    Ok(Report::new(plan, &latencies, errors, late, took))
}

/// Reads one key of every partition: a cluster that just started is not measured while it elects, and its map names
/// all leaders then. The time of each partition is known from then on, too.
fn wait_until_served(plan: &Plan) -> Result<(Clock, ServerTime), BenchError> {
    let options = Options { timeout: PATIENCE, ..Options::new(plan.endpoints.clone()) };
    let unserved = |error: ClientError| BenchError::Unserved(error.to_string());
    let client = Client::new(options).map_err(|error| BenchError::Cluster(error.into()))?;
    // Nobody there is told sooner than nobody leading.
    let within = CallOptions { timeout: Some(plan.timeout), ..CallOptions::default() };
    client.call_with(MapGet {}, within).map_err(unserved)?;
    // Before the first read is answered, the map may be empty.
    client.get(Job::name(0)).map_err(unserved)?;
    let (clock, mut time) = (Clock::default(), ServerTime::default());
    let (map, stamp) = client.call(Stamped(MapGet {})).map_err(unserved)?;
    time.told(stamp, clock.now());
    let ranges = map.ranges;
    let mut unseen: BTreeSet<GroupId> = ranges.ranges.iter().map(|range| range.partition).collect();
    for key in 0..NAMES_TRIED {
        let name = Job::name(key);
        if let Some(partition) = ranges.owner(&name).filter(|owner| unseen.remove(owner)) {
            let get = KeyGet { key: name, revision: None, as_of: None };
            let (_, stamp) = client.call(Stamped(get)).map_err(unserved)?;
            time.answered(stamp, partition, clock.now());
        }
        if unseen.is_empty() {
            break;
        }
    }
    Ok((clock, time))
}

fn connect<'a>(plan: &'a Plan, time: &(Clock, ServerTime)) -> Result<Vec<Driver<'a>>, BenchError> {
    let session = RandomState::new().hash_one(std::process::id()) | 1 << 32;
    let share =
        |index: usize| plan.in_flight / plan.connections + usize::from(index < plan.in_flight % plan.connections);
    let session = |index: usize| SessionId(session.wrapping_add((index as u64) << 32).max(1));
    let connect = |index| Driver::connect(plan, index, share(index), session(index), time.clone());
    Ok((0..plan.connections).map(connect).collect::<Result<_, _>>()?)
}

/// Runs one job on all drivers at once, a thread each.
fn phase(
    drivers: &mut [Driver<'_>],
    job: Job,
    budget: &Budget,
    rate: Option<f64>,
    counted_from: Instant,
) -> Result<Vec<Tally>, BenchError> {
    let count = drivers.len();
    let ready = Barrier::new(count);
    let results: Vec<Result<Tally, WireError>> = thread::scope(|scope| {
        let run = |(index, driver)| {
            let ready = &ready;
            let run = move || {
                ready.wait();
                // The clients take turns: together they keep an even pace.
                let start = Instant::now() + Duration::from_secs_f64(rate.map_or(0.0, |rate| index as f64 / rate));
                let pace = Pace::new(budget, rate.map(|rate| rate / count as f64), start);
                Driver::run(driver, job, pace, counted_from)
            };
            scope.spawn(run)
        };
        let threads: Vec<_> = drivers.iter_mut().enumerate().map(run).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client does not panic")).collect()
    });
    Ok(results.into_iter().collect::<Result<_, _>>()?)
}

/// What a phase came to for all clients together.
struct Sum {
    latencies: Histogram<u64>,
    /// Most frequent first.
    errors: Vec<(String, u64)>,
    last: Option<Instant>,
    late: Late,
}

impl Sum {
    fn of(tallies: Vec<Tally>) -> Self {
        let mut latencies = histogram();
        let mut errors: BTreeMap<String, u64> = BTreeMap::new();
        let (mut last, mut late) = (None, Late::default());
        for tally in tallies {
            latencies.add(&tally.latencies).expect("the same digits, and resizing");
            tally.errors.into_iter().for_each(|(kind, count)| *errors.entry(kind).or_default() += count);
            last = last.max(tally.last_answer);
            late.add(tally.late);
        }
        let mut errors: Vec<(String, u64)> = errors.into_iter().collect();
        errors.sort_by(|(_, one), (_, other)| other.cmp(one));
        Self { latencies, errors, last, late }
    }
}
