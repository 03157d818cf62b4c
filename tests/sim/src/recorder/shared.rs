//! What all processes write to.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{books::Books, demand::Demand, lines::Lines};
use crate::{
    check::{ClockBounds, Event, Kind},
    finding::{Finding, Judge},
};

/// Findings that are printed while a run goes on; one cause shows itself many times.
const MOST_PRINTED: usize = 50;

/// The history of a run, and what is noticed while it is written.
pub(crate) struct Recorder {
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    lines: Mutex<Lines>,
    findings: Mutex<Vec<Finding>>,
    /// The operation that each process has open.
    open: Mutex<BTreeMap<u64, Event>>,
    pub(crate) demand: Demand,
    pub(crate) books: Books,
    acks: AtomicU64,
    duplicates: AtomicU64,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("acks", &self.acks).finish_non_exhaustive()
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// Keeps the history in memory; `clock` is the one that its times are of.
    pub(crate) fn in_memory(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self::new(clock, Lines::Memory(Vec::new()))
    }

    /// Writes the history to a new file, with times since now, and prints what it finds.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn to_file(path: &Path) -> io::Result<Self> {
        let origin = Instant::now();
        Ok(Self::new(move || origin.elapsed(), Lines::create(path)?))
    }

    fn new(clock: impl Fn() -> Duration + Send + Sync + 'static, lines: Lines) -> Self {
        Self {
            clock: Box::new(clock),
            lines: Mutex::new(lines),
            findings: Mutex::default(),
            open: Mutex::default(),
            demand: Demand::default(),
            books: Books::default(),
            acks: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
        }
    }

    /// The time of the history.
    pub(crate) fn now(&self) -> Duration {
        (self.clock)()
    }

    /// The same in the history's unit.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.now().as_nanos()).expect("584 years")
    }

    /// Records an operation that a process is about to send.
    pub(crate) fn begin(&self, invoked: &Event) {
        self.write(invoked);
        locked(&self.open).insert(invoked.process, invoked.clone());
    }

    /// An operation is over.
    pub(crate) fn end(&self, completed: &Event) {
        locked(&self.open).remove(&completed.process);
        if completed.kind == Kind::Ok {
            self.count_ack();
        }
        self.write(completed);
    }

    fn write(&self, event: &Event) {
        let written = locked(&self.lines).push(event);
        self.note_failure(written);
    }

    /// Makes sure that the file, if there is one, has every line.
    pub(crate) fn flush(&self) {
        let flushed = locked(&self.lines).flush();
        self.note_failure(flushed);
    }

    fn note_failure(&self, written: io::Result<()>) {
        if let Err(error) = written {
            self.problem(Judge::History, format!("the history cannot be written: {error}"));
        }
    }

    /// The operations without an end.
    pub(crate) fn open(&self) -> Vec<Event> {
        locked(&self.open).values().cloned().collect()
    }

    /// The process is gone: what it asked for last has no end.
    pub(crate) fn forget(&self, process: u64) {
        locked(&self.open).remove(&process);
        self.demand.met(process);
    }

    /// All lines so far, if they are kept in memory.
    pub(crate) fn events(&self) -> Vec<Event> {
        locked(&self.lines).kept().to_vec()
    }

    /// Takes note of something that must not be.
    pub(crate) fn problem(&self, judge: Judge, text: String) {
        self.find([Finding::new(judge, text)]);
    }

    /// Takes note of what a judge found, if it found something.
    pub(crate) fn find(&self, found: impl IntoIterator<Item = Finding>) {
        for finding in found {
            let mut findings = locked(&self.findings);
            if findings.len() < MOST_PRINTED && locked(&self.lines).is_file() {
                eprintln!("{:.3} s: {finding}", self.now().as_secs_f64());
            }
            findings.push(finding);
        }
    }

    /// Findings so far, without those of the books.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        locked(&self.findings).clone()
    }

    /// What must not be and was, if clocks are as good as that.
    pub(crate) fn judge(&self, clocks: ClockBounds) -> Vec<Finding> {
        let mut all = self.findings();
        all.extend(self.books.breaches(clocks));
        all
    }

    /// Records that a process may rely on a lock until then: no other process may at this moment.
    pub(crate) fn rely_on(&self, lock: &str, process: u64, until: Duration) {
        let found = {
            let mut reliance = self.books.reliance();
            // The clock is read under the lock, so that entries are in the order of time.
            let now = self.now();
            reliance.begins(lock, process, until, now)
        };
        self.find(found);
    }

    /// An answer that is in no history.
    pub(crate) fn count_ack(&self) {
        self.acks.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers so far.
    pub(crate) fn acks(&self) -> u64 {
        self.acks.load(Ordering::Relaxed)
    }

    /// A request that was sent to two nodes was answered by both.
    pub(crate) fn count_duplicate(&self) {
        self.duplicates.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that were sent twice and answered twice.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_rely_on_one_lock_are_found() {
        let recorder = Recorder::in_memory(|| Duration::from_secs(10));
        let (past, future) = (Duration::from_secs(9), Duration::from_secs(3_600));
        recorder.rely_on("a", 1, future);
        recorder.rely_on("b", 2, future);
        recorder.rely_on("a", 3, past);
        assert_eq!(recorder.findings(), [], "another lock, and a grant that is over");
        recorder.books.reliance().ends("a", 1);
        recorder.rely_on("a", 2, future);
        assert_eq!(recorder.findings(), [], "one gave it up");
        recorder.rely_on("a", 1, future);
        assert_eq!(recorder.findings().len(), 1);
        assert_eq!(recorder.findings()[0].judge, Judge::Reliance);
    }
}
