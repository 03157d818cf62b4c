//! A measurement from its plan to its report.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use kahuna_client::wire::WireError;

use crate::driver::{Driver, Tally, contradiction};
use crate::job::Job;
use crate::pace::{Budget, Pace};
use crate::plan::{Plan, Stop};
use crate::report::{Report, histogram};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The plan contradicts itself.
    #[error("{0}")]
    Plan(String),
    /// The cluster cannot be reached, or stopped answering.
    #[error("{0}")]
    Cluster(#[from] WireError),
    /// What is measured could not be prepared.
    #[error("the preparation failed: {0}")]
    Preparation(String),
}

/// Prepares what is needed, then measures.
///
/// # Errors
/// See [`BenchError`]. Single operations that fail are counted in the report instead.
pub fn run(plan: &Plan) -> Result<Report, BenchError> {
    if let Some(text) = contradiction(plan) {
        return Err(BenchError::Plan(text));
    }
    let mut drivers = connect(plan)?;
    if let Some(job) = Job::preparation(plan.workload) {
        let tallies = phase(&mut drivers, job, &Budget::new(plan.keys, None), None, Instant::now())?;
        let (latencies, errors, _) = merge(tallies);
        if latencies.len() < plan.keys {
            return Err(BenchError::Preparation(format!("{errors:?}")));
        }
    }
    // The map of a cluster that just started names no leaders; by now it does, and every driver starts with the latest.
    if !drivers.iter().all(Driver::knows_all_leaders) {
        drivers = connect(plan)?;
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
    let (latencies, errors, last) = merge(tallies);
    let took = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(counted_from));
    Ok(Report::new(plan, &latencies, errors, took))
}

fn connect(plan: &Plan) -> Result<Vec<Driver<'_>>, BenchError> {
    let session = RandomState::new().hash_one(std::process::id()) | 1 << 32;
    let share =
        |index: usize| plan.in_flight / plan.connections + usize::from(index < plan.in_flight % plan.connections);
    let connect = |index| Driver::connect(plan, index, share(index), session.wrapping_add((index as u64) << 32).max(1));
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

fn merge(tallies: Vec<Tally>) -> (hdrhistogram::Histogram<u64>, Vec<(String, u64)>, Option<Instant>) {
    let mut latencies = histogram();
    let mut errors: BTreeMap<String, u64> = BTreeMap::new();
    let mut last = None;
    for tally in tallies {
        latencies.add(&tally.latencies).expect("the same digits, and resizing");
        tally.errors.into_iter().for_each(|(kind, count)| *errors.entry(kind).or_default() += count);
        last = last.max(tally.last_answer);
    }
    let mut errors: Vec<(String, u64)> = errors.into_iter().collect();
    errors.sort_by(|(_, one), (_, other)| other.cmp(one));
    (latencies, errors, last)
}
