//! How long the tasks of a shard wait for their turns.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use kahuna_microbench::ThreadClock;
use kahuna_shards::env::Env;
use kahuna_shards::linux::Linux;

/// A task that yields all the time and notes how long each yield takes: what everybody else did in between.
pub struct Probe {
    gaps: RefCell<Gaps>,
    stopped: Cell<bool>,
}

/// Nanoseconds between two turns of a task that is always ready.
pub struct Gaps {
    /// As the clock has it.
    pub whole: Histogram<u64>,
    /// Without the time in which the thread could have run and other threads of this machine had its CPU.
    pub own: Histogram<u64>,
    /// The one that is the longest in `own`.
    pub longest: Gap,
}

/// One of them.
#[derive(Clone, Copy, Default)]
pub struct Gap {
    /// As in [`Gaps::own`].
    pub own: Duration,
    /// Only the time in which the thread ran: without waits for the disk or for the kernel's locks too.
    pub ran: Duration,
    /// Pages that were touched for the first time.
    pub faults: u64,
}

/// An empty histogram of nanoseconds.
pub fn nanoseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("plain bounds")
}

impl Gaps {
    fn none() -> Self {
        Self { whole: nanoseconds(), own: nanoseconds(), longest: Gap::default() }
    }

    fn note(&mut self, whole: Duration, gap: Gap) {
        self.whole.saturating_record(whole.as_nanos() as u64);
        self.own.saturating_record(gap.own.as_nanos() as u64);
        if gap.own > self.longest.own {
            self.longest = gap;
        }
    }
}

impl Probe {
    /// Begins to measure.
    pub fn start() -> Rc<Self> {
        let probe = Rc::new(Self { gaps: RefCell::new(Gaps::none()), stopped: Cell::new(false) });
        let run = probe.clone();
        Linux::spawn(async move {
            let (clock, queue) = (ThreadClock::start(), RunQueue::of_this_thread());
            let look = || (Linux::boot_clock(), queue.waited(), clock.elapsed(), faults());
            let mut last = look();
            while !run.stopped.get() {
                Linux::yield_now().await;
                let now = look();
                let whole = now.0 - last.0;
                let own = whole.saturating_sub(now.1 - last.1);
                run.gaps.borrow_mut().note(whole, Gap { own, ran: now.2 - last.2, faults: now.3 - last.3 });
                last = now;
            }
        });
        probe
    }

    /// What was measured since the last call.
    pub fn take(&self) -> Gaps {
        self.gaps.replace(Gaps::none())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stopped.set(true);
    }
}

/// Stops the probe when it goes out of scope.
pub struct Running(pub Rc<Probe>);

/// Faults of the calling thread so far that needed no disk: first touches of pages.
fn faults() -> u64 {
    // SAFETY: the structure is plain numbers, for which zeros will do, and the kernel writes nothing but it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage
    };
    usage.ru_minflt as u64
}

/// How long a thread was ready to run and had no CPU.
struct RunQueue(File);

impl RunQueue {
    fn of_this_thread() -> Self {
        Self(File::open("/proc/thread-self/schedstat").expect("every Linux has it"))
    }

    /// Since the thread began.
    fn waited(&self) -> Duration {
        let mut text = [0; 96];
        let read = self.0.read_at(&mut text, 0).expect("the thread lives");
        let text = std::str::from_utf8(&text[..read]).expect("numbers");
        // Time on a CPU, time waiting for one, turns.
        let waited = text.split_ascii_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(waited.expect("three numbers"))
    }
}
