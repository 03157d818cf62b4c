//! Writers in a closed loop: each appends its next record when its last one is durable.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kahuna_microbench::ThreadClock;
use kahuna_wal::{Disk, Log, LogError, Record};

use super::metered::Metered;
use super::raw::Sample;

/// Writers are spread over at most so many groups.
const GROUPS: usize = 64;

/// A group is purged once in so many of its records, so that the log recycles its segments.
const PURGE_EVERY: u64 = 256;

/// How many append what.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    pub writers: usize,
    pub payload_bytes: usize,
}

impl Workload {
    pub fn new(writers: usize, payload_bytes: usize) -> Self {
        Self { writers, payload_bytes }
    }

    /// From one writer to many.
    pub fn all() -> Vec<Self> {
        [(1, 4096), (1, 256), (16, 256), (64, 256), (256, 256)].map(|(writers, bytes)| Self::new(writers, bytes)).into()
    }
}

/// What one round of a workload took.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadSample {
    /// Counted per record.
    pub records: Sample,
    pub batches_per_s: f64,
    pub batch_bytes: f64,
    pub flushes_per_record: f64,
    /// Mean number of writes in flight.
    pub depth: f64,
    /// Of the processor time per record: that of the calls which append, in microseconds.
    pub append_us: f64,
}

/// A log with writers.
pub struct Load<D: Disk> {
    log: Log<Metered<D>>,
    disk: Metered<D>,
    next_index: Vec<u64>,
    told: Rc<Told>,
}

/// Where the log's callbacks leave their news.
#[derive(Default)]
struct Told {
    /// Writers whose record is durable.
    writers: RefCell<Vec<usize>>,
    failure: RefCell<Option<LogError>>,
    waiting: Cell<Option<Waker>>,
}

impl<D: Disk> Load<D> {
    pub fn new(log: Log<Metered<D>>, disk: Metered<D>) -> Self {
        Self { log, disk, next_index: vec![1; GROUPS], told: Rc::default() }
    }

    /// Runs `workload` for as long as `round`, then waits for what is on its way. [`Log::run`] is polled beside it.
    pub async fn run(&mut self, workload: &Workload, round: Duration) -> Result<LoadSample, LogError> {
        let payload = Bytes::from(vec![7; workload.payload_bytes]);
        let before = self.log.stats();
        let writing_before = self.disk.writing();
        let clock = ThreadClock::start();
        let began = Instant::now();
        let mut append_time = Duration::ZERO;
        let mut nanos = Vec::with_capacity(1 << 20);
        let mut ready: Vec<usize> = (0..workload.writers).collect();
        let mut since = vec![0; workload.writers];
        let (cpu, elapsed) = loop {
            // The clock is read once for all that go on together: a record counts from before the first of them.
            let wave = Instant::now();
            if wave - began >= round {
                break (clock.elapsed(), wave - began);
            }
            let wave_nanos = (wave - began).as_nanos() as u64;
            for &writer in &ready {
                since[writer] = wave_nanos;
                self.append(writer % GROUPS, writer, &payload);
            }
            append_time += wave.elapsed();
            ready.clear();
            self.told(&mut ready).await?;
            let now = began.elapsed().as_nanos() as u64;
            nanos.extend(ready.iter().map(|&writer| now - since[writer]));
        };
        let after = self.log.stats();
        let writing = self.disk.writing() - writing_before;
        let mut ended = ready.len();
        while ended < workload.writers {
            ready.clear();
            self.told(&mut ready).await?;
            ended += ready.len();
        }
        let flushes = (after.flushes - before.flushes) as f64;
        let records = nanos.len().max(1) as f64;
        Ok(LoadSample {
            records: Sample::new(&mut nanos, elapsed, cpu),
            batches_per_s: flushes / elapsed.as_secs_f64(),
            batch_bytes: (after.bytes - before.bytes) as f64 / flushes.max(1.0),
            flushes_per_record: flushes / records,
            depth: writing.as_secs_f64() / elapsed.as_secs_f64(),
            append_us: append_time.as_secs_f64() * 1e6 / records,
        })
    }

    fn append(&mut self, group: usize, writer: usize, payload: &Bytes) {
        let index = self.next_index[group];
        self.next_index[group] += 1;
        let entry = [Record::Entry { index, meta: [0; 16], payload: payload.clone() }];
        if index.is_multiple_of(PURGE_EVERY) {
            let purge = Record::Purge { upto: index - 1, log_id: Bytes::new() };
            self.log.append_lazily(group as u32, &[purge]);
        }
        let told = self.told.clone();
        self.log.append(group as u32, &entry, move |outcome| {
            if let Err(error) = outcome {
                *told.failure.borrow_mut() = Some(error);
            }
            told.writers.borrow_mut().push(writer);
            if let Some(waker) = told.waiting.take() {
                waker.wake();
            }
        });
    }

    /// Waits until at least one writer was told, and takes all that were.
    async fn told(&self, ready: &mut Vec<usize>) -> Result<(), LogError> {
        poll_fn(|context| {
            if let Some(error) = self.told.failure.take() {
                return Poll::Ready(Err(error));
            }
            ready.append(&mut self.told.writers.borrow_mut());
            if ready.is_empty() {
                self.told.waiting.set(Some(context.waker().clone()));
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}
