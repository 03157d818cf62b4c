//! The generator: a closed loop, the same for every peer.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::host::{Disk, connections};
use crate::store::{Client, SEQUENCES, Workload, sequence};

/// How long one operation may take; one that takes longer is an error.
const PATIENCE: Duration = Duration::from_secs(10);
/// A slot whose operation failed rests this long, so that refusals are not a busy loop.
const REST: Duration = Duration::from_millis(10);
/// Keys that are written at once before they can be read.
const FILLERS: usize = 64;

/// What is the same in all points of the table.
#[derive(Clone, Debug)]
pub struct Load {
    pub keys: u64,
    pub value_bytes: usize,
    pub warmup: Duration,
    pub time: Duration,
}

/// One point of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    pub workload: Workload,
    pub in_flight: usize,
    pub clients: usize,
}

/// What was measured at a point, once.
#[derive(Clone, Debug)]
pub struct Figures {
    pub ops_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// What went wrong how often.
    pub errors: BTreeMap<String, u64>,
    pub connections: usize,
    pub flushes_per_op: Option<f64>,
}

/// What one slot counted.
#[derive(Debug)]
struct Tally {
    latencies: Histogram<u64>,
    errors: BTreeMap<String, u64>,
    last: Option<Instant>,
}

impl Tally {
    fn new() -> Self {
        // Nanoseconds up to a minute, to three digits.
        let latencies = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order");
        Self { latencies, errors: BTreeMap::new(), last: None }
    }

    fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("the same bounds");
        for (kind, count) in &other.errors {
            *self.errors.entry(kind.clone()).or_default() += count;
        }
        self.last = self.last.max(other.last);
    }
}

/// When operations begin and which of them count.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: Instant,
    until: Instant,
}

/// Writes every key once.
pub async fn fill(client: &impl Client, load: &Load) -> Result<()> {
    let mut fillers = JoinSet::new();
    for first in 0..FILLERS as u64 {
        let (mut client, load) = (client.clone(), load.clone());
        fillers.spawn(async move {
            let value = vec![b'v'; load.value_bytes];
            for index in (first..load.keys).step_by(FILLERS) {
                timeout(PATIENCE, client.set(&key(index), &value)).await??;
            }
            anyhow::Ok(())
        });
    }
    while let Some(filled) = fillers.join_next().await {
        filled?.context("a key cannot be written")?;
    }
    Ok(())
}

/// Keeps `point.in_flight` operations under way, spread over `clients`. `run` differs from one measurement to the next: no
/// lock is used in two of them.
pub async fn measure<C: Client>(
    clients: &[C],
    point: Point,
    load: &Load,
    run: usize,
    disk: Option<&Disk>,
    ports: &[u16],
) -> Result<Figures> {
    let from = Instant::now() + load.warmup;
    let window = Window { from, until: from + load.time };
    let mut slots = JoinSet::new();
    for index in 0..point.in_flight {
        let client = clients[index % clients.len()].clone();
        slots.spawn(slot(client, point, index, load.clone(), run, window));
    }
    sleep_until(window.from).await;
    let flushed = disk.map(Disk::flushes).transpose()?;
    let connections = connections(ports)?;
    let mut sum = Tally::new();
    while let Some(tally) = slots.join_next().await {
        sum.add(&tally?);
    }
    let flushed = disk.map(Disk::flushes).transpose()?.zip(flushed).map(|(after, before)| after.saturating_sub(before));
    let Some(last) = sum.last else { bail!("no operation succeeded: {:?}", sum.errors) };
    let ops = sum.latencies.len();
    let micros = |quantile: f64| sum.latencies.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(Figures {
        ops_per_s: ops as f64 / (last - window.from).as_secs_f64().max(1e-9),
        p50_us: micros(0.5),
        p99_us: micros(0.99),
        p999_us: micros(0.999),
        errors: sum.errors,
        connections,
        flushes_per_op: flushed.map(|flushed| flushed as f64 / ops as f64),
    })
}

/// One operation after the other, each counted if it began in the window.
async fn slot(mut client: impl Client, point: Point, index: usize, load: Load, run: usize, window: Window) -> Tally {
    let mut tally = Tally::new();
    let value = vec![b'v'; load.value_bytes];
    let (lock, owner) = (format!("lock-{run}-{index}"), format!("owner-{index}"));
    for turn in (index as u64..).step_by(point.in_flight) {
        let begun = Instant::now();
        if begun >= window.until {
            break;
        }
        let operation = async {
            match point.workload {
                Workload::Set => client.set(&key(turn % load.keys), &value).await,
                Workload::Get => client.get(&key(turn % load.keys)).await,
                Workload::Lock => client.lock_cycle(&lock, &owner).await,
                Workload::Seq => client.next(&sequence(turn % SEQUENCES)).await,
            }
        };
        let error = match timeout(PATIENCE, operation).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some(format!("no answer within {PATIENCE:?}")),
        };
        let now = Instant::now();
        let is_counted = begun >= window.from;
        match error {
            None if is_counted => {
                let nanos = u64::try_from((now - begun).as_nanos()).unwrap_or(u64::MAX);
                tally.latencies.saturating_record(nanos);
                tally.last = Some(now);
            }
            None => {}
            Some(kind) => {
                if is_counted {
                    *tally.errors.entry(kind).or_default() += 1;
                }
                sleep(REST).await;
            }
        }
    }
    tally
}

fn key(index: u64) -> String {
    format!("key-{index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers after a millisecond, and refuses every get.
    #[derive(Clone, Debug)]
    struct Fake;

    impl Client for Fake {
        async fn set(&mut self, _: &str, _: &[u8]) -> Result<()> {
            sleep(Duration::from_millis(1)).await;
            Ok(())
        }

        async fn get(&mut self, _: &str) -> Result<()> {
            bail!("refused")
        }

        async fn lock_cycle(&mut self, _: &str, _: &str) -> Result<()> {
            self.set("", &[]).await
        }

        async fn next(&mut self, _: &str) -> Result<()> {
            self.set("", &[]).await
        }
    }

    async fn measured(workload: Workload) -> Result<Figures> {
        let load =
            Load { keys: 10, value_bytes: 1, warmup: Duration::from_millis(10), time: Duration::from_millis(100) };
        let point = Point { workload, in_flight: 8, clients: 2 };
        measure(&[Fake, Fake], point, &load, 0, None, &[]).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_has_the_throughput_of_its_latency() {
        for workload in [Workload::Set, Workload::Lock, Workload::Seq] {
            let figures = measured(workload).await.expect("figures");
            assert!((7000.0..=9000.0).contains(&figures.ops_per_s) && figures.errors.is_empty(), "{figures:?}");
            assert!((990.0..=2100.0).contains(&figures.p50_us), "{figures:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_point_without_a_success_is_an_error_that_says_why() {
        let error = measured(Workload::Get).await.expect_err("nothing succeeded");
        assert!(error.to_string().contains("refused"), "{error}");
    }
}
