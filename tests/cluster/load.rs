//! Clients that read and write all the time, and what they saw, as a history for the checker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kahuna_client::blocking::Client;
use kahuna_client::call::{AcquireAnswer, AllocateAnswer, GetAnswer, ReleaseAnswer, SetAnswer};
use kahuna_client::{ClientError, Options};
use kahuna_protocol::key::{Condition, KeySet};
use kahuna_sim::check::{self, Datum, Event, History, Kind, Limits, Op, Outcome, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::nodes::Cluster;
use super::progress::Progress;

const KEYS: u32 = 12;
const LOCKS: u32 = 4;
const SEQUENCES: u32 = 4;
/// Longer than any test: a lease never ends by itself.
const TTL: Duration = Duration::from_secs(3600);

/// The load of several clients, running.
pub struct Load {
    pub progress: Arc<Progress>,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Vec<Event>>>,
    seed: u64,
    origin: Instant,
    endpoints: Vec<String>,
}

struct Worker {
    process: u64,
    client: Client,
    rng: StdRng,
    origin: Instant,
    events: Vec<Event>,
    writes: u64,
    progress: Arc<Progress>,
    seen: Option<(String, u64)>,
}

impl Load {
    /// Starts `workers` clients. Each draws what it does from `seed`, which a failure prints.
    pub fn start(cluster: &Cluster, workers: u64, seed: u64) -> Self {
        let client = cluster.client();
        for number in 0..SEQUENCES {
            client.sequence_create(format!("sequence-{number}"), 0, 1, None).expect("the cluster serves");
        }
        let (progress, stop) = (Arc::<Progress>::default(), Arc::<AtomicBool>::default());
        let origin = Instant::now();
        let endpoints = cluster.endpoints();
        let spawn = |process| {
            let mut worker = Worker::new(process, &endpoints, seed, origin, progress.clone());
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    worker.step();
                }
                worker.events
            })
        };
        let workers = (0..workers).map(spawn).collect();
        Self { progress, stop, workers, seed, origin, endpoints }
    }

    /// Stops the clients, reads every key once more, and judges what all of them saw.
    pub fn finish(self, cluster: &mut Cluster) {
        self.stop.store(true, Ordering::Relaxed);
        let mut events = Vec::new();
        let last = self.workers.len() as u64;
        for worker in self.workers {
            events.extend(worker.join().expect("a client does not panic"));
        }
        let mut reader = Worker::new(last, &self.endpoints, self.seed, self.origin, self.progress);
        for number in 0..KEYS {
            reader.get(&format!("key-{number}"));
        }
        events.append(&mut reader.events);
        judge(&events, self.seed, cluster);
    }
}

/// Fails the test unless the history is valid and says enough.
fn judge(events: &[Event], seed: u64, cluster: &mut Cluster) {
    let history = History::from_events(events).expect("a well-formed history");
    let limits = Limits { min_reads_with_value: 20, min_concurrent_pairs: 20, ..Limits::default() };
    let report = check::check(&history, &limits);
    if report.outcome != Verdict::Valid {
        let dir = cluster.keep();
        let path = dir.join("history.jsonl");
        let lines: Vec<String> = events.iter().map(Event::to_line).collect();
        std::fs::write(&path, lines.join("\n") + "\n").expect("the test's directory takes files");
        panic!("seed {seed}: {:?}\nreplay: kahuna-sim check {}\n{report:#?}", report.outcome, path.display());
    }
}

impl Worker {
    fn new(process: u64, endpoints: &[String], seed: u64, origin: Instant, progress: Arc<Progress>) -> Self {
        let options = Options { timeout: Duration::from_secs(10), ..Options::new(endpoints.iter().cloned()) };
        Self {
            process,
            client: Client::new(options).expect("a client starts"),
            rng: StdRng::seed_from_u64(seed ^ (process << 32)),
            origin,
            events: Vec::new(),
            writes: 0,
            progress,
            seen: None,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).expect("a test is short")
    }

    fn step(&mut self) {
        let key = format!("key-{}", self.rng.random_range(0..KEYS));
        match self.rng.random_range(0..100) {
            0..35 => self.get(&key),
            35..65 => self.set(&key, None),
            65..80 => {
                let seen = self.seen.take();
                match seen {
                    Some((key, revision)) => self.set(&key, Some(revision)),
                    None => self.get(&key),
                }
            }
            80..90 => self.lock_cycle(),
            _ => self.next_value(),
        }
    }

    fn invoke(&self, op: Op, key: &str) -> Event {
        Event::new(self.process, Kind::Invoke, op, key, self.now())
    }

    /// Records an operation: `None` from `fill` means that nobody knows, an error that it never takes effect.
    fn record(&mut self, invoked: Event, answer: Result<impl FnOnce(&mut Event), ClientError>) {
        let kind = match &answer {
            Ok(_) => Kind::Ok,
            Err(ClientError::Refused(_) | ClientError::Unavailable { .. }) => Kind::Fail,
            Err(ClientError::Unknown { .. }) => Kind::Info,
            Err(error @ ClientError::Protocol(_)) => panic!("{error}"),
        };
        let mut completed = invoked.completion(kind, self.now());
        if let Ok(fill) = answer {
            fill(&mut completed);
            self.progress.add();
        }
        self.events.extend([invoked, completed]);
    }

    fn get(&mut self, key: &str) {
        let invoked = self.invoke(Op::KeyGet, key);
        let answer = self.client.get(key);
        if let Ok(GetAnswer::Value(value)) = &answer {
            self.seen = Some((key.to_owned(), value.revision));
        }
        let filled = answer.map(|answer| {
            move |event: &mut Event| match answer {
                GetAnswer::Value(value) => {
                    event.outcome = Some(Outcome::Value);
                    event.value = Some(Datum::Text(String::from_utf8(value.value).expect("the load writes text")));
                    event.revision = Some(value.revision);
                }
                GetAnswer::NotFound(absent) => {
                    event.outcome = Some(Outcome::NotFound);
                    event.revision = Some(absent.revision);
                }
                GetAnswer::Compacted(_) => panic!("the newest revision is never compacted"),
            }
        });
        self.record(invoked, filled);
    }

    fn set(&mut self, key: &str, if_revision: Option<u64>) {
        self.writes += 1;
        let value = format!("{}-{}", self.process, self.writes);
        let op = if if_revision.is_some() { Op::Cas } else { Op::KeySet };
        let mut invoked = self.invoke(op, key);
        invoked.value = Some(Datum::Text(value.clone()));
        invoked.if_revision = if_revision;
        let condition = Condition { revision: if_revision, ..Condition::default() };
        let set = KeySet { key: key.into(), value: value.into(), ttl_ms: None, condition, no_history: false };
        let filled = self.client.call(set).map(|answer| {
            move |event: &mut Event| match answer {
                SetAnswer::Set(set) => {
                    event.outcome = Some(Outcome::Set);
                    event.revision = Some(set.revision);
                }
                SetAnswer::NotSet(refused) => {
                    event.outcome = Some(Outcome::NotSet);
                    event.revision = Some(refused.revision);
                }
            }
        });
        self.record(invoked, filled);
    }

    fn lock_cycle(&mut self) {
        let lock = format!("lock-{}", self.rng.random_range(0..LOCKS));
        let owner = format!("owner-{}", self.process);
        let mut invoked = self.invoke(Op::LockAcquire, &lock);
        invoked.owner = Some(owner.clone());
        invoked.ttl_ms = Some(u64::try_from(TTL.as_millis()).expect("an hour"));
        let answer = self.client.lock_acquire(lock.clone(), owner.clone(), TTL);
        let filled = answer.map(|answer| {
            move |event: &mut Event| match answer {
                AcquireAnswer::Acquired(grant) => {
                    event.outcome = Some(Outcome::Acquired);
                    event.token = Some(grant.token);
                }
                AcquireAnswer::Held(held) => {
                    event.outcome = Some(Outcome::Held);
                    event.owner = Some(String::from_utf8(held.owner).expect("the load's owners are text"));
                    event.token = Some(held.token);
                }
            }
        });
        self.record(invoked, filled);
        let mut invoked = self.invoke(Op::LockRelease, &lock);
        invoked.owner = Some(owner.clone());
        let filled = self.client.lock_release(lock, owner).map(|answer| {
            move |event: &mut Event| match answer {
                ReleaseAnswer::Released(_) => event.outcome = Some(Outcome::Released),
                ReleaseAnswer::NotHeld(_) => event.outcome = Some(Outcome::NotHeld),
                ReleaseAnswer::NotOwner(other) => {
                    event.outcome = Some(Outcome::NotOwner);
                    event.owner = Some(String::from_utf8(other.owner).expect("the load's owners are text"));
                    event.token = Some(other.token);
                }
            }
        });
        self.record(invoked, filled);
    }

    fn next_value(&mut self) {
        let sequence = format!("sequence-{}", self.rng.random_range(0..SEQUENCES));
        let invoked = self.invoke(Op::SequenceNext, &sequence);
        let filled = self.client.sequence_next(sequence).map(|answer| {
            move |event: &mut Event| match answer {
                AllocateAnswer::Allocated(drawn) => {
                    event.outcome = Some(Outcome::Next);
                    event.value = Some(Datum::Integer(drawn.start));
                    event.incarnation = Some(drawn.incarnation);
                }
                AllocateAnswer::Exhausted(_) => event.outcome = Some(Outcome::Exhausted),
                AllocateAnswer::SequenceNotFound(_) => event.outcome = Some(Outcome::NotFound),
            }
        });
        self.record(invoked, filled);
    }
}
