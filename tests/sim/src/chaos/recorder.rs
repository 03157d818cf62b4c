//! What all clients saw, line by line as it happens, and what must not be and was.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::ChaosError;
use crate::check::{Event, Kind};

/// Problems kept; the rest is counted. One cause shows itself many times.
const MOST_PROBLEMS: usize = 50;

/// While set, the cluster is whole.
#[derive(Debug, Default)]
struct Demand {
    bound: Option<Duration>,
    /// Operations that began since then and are still open.
    open: u64,
}

#[derive(Debug, Default)]
struct Problems {
    texts: Vec<String>,
    more: u64,
}

/// The history of a run, and what is noticed while it is written.
#[derive(Debug)]
pub(super) struct Recorder {
    origin: Instant,
    file: Mutex<BufWriter<File>>,
    problems: Mutex<Problems>,
    demand: Mutex<Demand>,
    /// Until when each process may rely on a lock, by lock: the client's own promise.
    safe: Mutex<BTreeMap<String, BTreeMap<u64, Instant>>>,
    demanded: AtomicU64,
    duplicates: AtomicU64,
    acks: AtomicU64,
    refused_for_room: AtomicU64,
    full_unnoticed: AtomicU64,
}

/// An operation that began while an answer was demanded.
#[derive(Debug)]
pub(super) struct Demanded(Duration);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// Writes to a new file.
    ///
    /// # Errors
    /// `Io` when it cannot be made.
    pub(super) fn new(path: &Path) -> Result<Self, ChaosError> {
        let file = File::create(path).map_err(ChaosError::at(path))?;
        Ok(Self {
            origin: Instant::now(),
            file: Mutex::new(BufWriter::new(file)),
            problems: Mutex::default(),
            demand: Mutex::default(),
            safe: Mutex::default(),
            demanded: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            acks: AtomicU64::new(0),
            refused_for_room: AtomicU64::new(0),
            full_unnoticed: AtomicU64::new(0),
        })
    }

    /// Nanoseconds since the run began: the clock of the history.
    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).expect("584 years")
    }

    pub(super) fn write(&self, event: &Event) {
        if event.kind == Kind::Ok {
            self.acks.fetch_add(1, Ordering::Relaxed);
        }
        let line = event.to_line();
        if let Err(error) = writeln!(lock(&self.file), "{line}") {
            self.problem(format!("the history cannot be written: {error}"));
        }
    }

    /// Makes sure that the file has every line.
    pub(super) fn flush(&self) {
        if let Err(error) = lock(&self.file).flush() {
            self.problem(format!("the history cannot be written: {error}"));
        }
    }

    pub(super) fn acks(&self) -> u64 {
        self.acks.load(Ordering::Relaxed)
    }

    /// Takes note of something that must not be.
    pub(super) fn problem(&self, text: String) {
        let mut problems = lock(&self.problems);
        if problems.texts.len() < MOST_PROBLEMS {
            eprintln!("chaos: {:.3} s: {text}", self.origin.elapsed().as_secs_f64());
            problems.texts.push(text);
        } else {
            problems.more += 1;
        }
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let problems = lock(&self.problems);
        let more = (problems.more > 0).then(|| format!("and {} more problems", problems.more));
        problems.texts.iter().cloned().chain(more).collect()
    }

    /// From now on, until `None`, whatever begins must be answered within `bound`.
    pub(super) fn demand(&self, bound: Option<Duration>) {
        lock(&self.demand).bound = bound;
    }

    /// Operations under way of which an answer is demanded.
    pub(super) fn demanded_open(&self) -> u64 {
        lock(&self.demand).open
    }

    /// Operations of which an answer was demanded.
    pub(super) fn demanded(&self) -> u64 {
        self.demanded.load(Ordering::Relaxed)
    }

    /// An operation begins; its demand, if there is one, is handed to [`Recorder::end`].
    pub(super) fn begin(&self) -> Option<Demanded> {
        let mut demand = lock(&self.demand);
        let bound = demand.bound?;
        demand.open += 1;
        self.demanded.fetch_add(1, Ordering::Relaxed);
        Some(Demanded(bound))
    }

    /// An operation is over. `failure` says why it has no answer.
    pub(super) fn end(&self, demanded: Option<Demanded>, event: &Event, took: Duration, failure: Option<String>) {
        let Some(Demanded(bound)) = demanded else { return };
        lock(&self.demand).open -= 1;
        if failure.is_some() || took > bound {
            let (process, op, key) = (event.process, event.op, &event.key);
            let what = failure.unwrap_or_else(|| "an answer".into());
            self.problem(format!(
                "the cluster is whole, and {op:?} {key:?} of process {process} took {took:?} for {what}"
            ));
        }
    }

    pub(super) fn count_duplicate(&self) {
        self.duplicates.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that were sent twice and answered twice.
    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    /// A time of full disks is over, in which so many writes were refused for want of room, and which has shown or not.
    pub(super) fn count_full(&self, refused: u64, has_shown: bool) {
        self.refused_for_room.fetch_add(refused, Ordering::Relaxed);
        self.full_unnoticed.fetch_add(u64::from(!has_shown), Ordering::Relaxed);
    }

    /// Writes that were refused for want of room.
    pub(super) fn refused_for_room(&self) -> u64 {
        self.refused_for_room.load(Ordering::Relaxed)
    }

    /// Times of full disks that nobody noticed.
    pub(super) fn full_unnoticed(&self) -> u64 {
        self.full_unnoticed.load(Ordering::Relaxed)
    }

    /// A process is told to rely on a lock until then. No other one may be told so at the same moment.
    pub(super) fn rely_on(&self, name: &str, process: u64, until: Instant) {
        let mut safe = lock(&self.safe);
        let now = Instant::now();
        let holders = safe.entry(name.to_owned()).or_default();
        holders.insert(process, until);
        let relying: Vec<u64> = holders.iter().filter(|(_, until)| **until > now).map(|(holder, _)| *holder).collect();
        if relying.len() > 1 && relying.contains(&process) {
            self.problem(format!("processes {relying:?} rely on {name} at one moment"));
        }
    }

    /// A process gives a lock up, or is about to.
    pub(super) fn rely_no_more(&self, name: &str, process: u64) {
        if let Some(holders) = lock(&self.safe).get_mut(name) {
            holders.remove(&process);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Op;

    fn recorder() -> (tempfile::TempDir, Recorder) {
        let dir = tempfile::tempdir().expect("a directory");
        let recorder = Recorder::new(&dir.path().join("history.jsonl")).expect("a file");
        (dir, recorder)
    }

    #[test]
    fn two_that_rely_on_one_lock_are_a_problem() {
        let (_dir, recorder) = recorder();
        let (past, future) = (Instant::now(), Instant::now() + Duration::from_secs(3600));
        recorder.rely_on("a", 1, future);
        recorder.rely_on("b", 2, future);
        recorder.rely_on("a", 3, past);
        assert_eq!(recorder.problems(), [""; 0], "another lock, and a grant that is over");
        recorder.rely_no_more("a", 1);
        recorder.rely_on("a", 2, future);
        assert_eq!(recorder.problems(), [""; 0], "one gave it up");
        recorder.rely_on("a", 1, future);
        assert_eq!(recorder.problems(), ["processes [1, 2] rely on a at one moment"]);
    }

    #[test]
    fn what_is_late_while_the_cluster_is_whole_is_a_problem() {
        let (_dir, recorder) = recorder();
        let event = Event::new(1, Kind::Invoke, Op::Get, "a", 0);
        let (soon, late) = (Duration::from_millis(5), Duration::from_millis(50));
        recorder.end(recorder.begin(), &event, late, Some("no answer".into()));
        assert_eq!((recorder.problems().len(), recorder.demanded()), (0, 0), "nothing is demanded yet");
        recorder.demand(Some(Duration::from_millis(10)));
        let (early, tardy, lost) = (recorder.begin(), recorder.begin(), recorder.begin());
        recorder.demand(None);
        assert_eq!(recorder.demanded_open(), 3);
        recorder.end(early, &event, soon, None);
        assert_eq!(recorder.problems().len(), 0);
        recorder.end(tardy, &event, late, None);
        assert_eq!(recorder.problems().len(), 1);
        recorder.end(lost, &event, soon, Some("no answer".into()));
        assert_eq!((recorder.problems().len(), recorder.demanded(), recorder.demanded_open()), (2, 3, 0));
    }
}
