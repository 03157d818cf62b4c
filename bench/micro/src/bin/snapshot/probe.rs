//! How long the tasks of a shard wait for their turns.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use kahuna_shards::env::Env;
use kahuna_shards::linux::Linux;

use crate::thread::{Meters, Spent};

/// A turn that is longer is noted with all that is known about it.
pub const NOTED: Duration = Duration::from_millis(1);

/// A task that yields all the time and notes how long each yield takes: what everybody else did in between.
pub struct Probe {
    turns: RefCell<Turns>,
    stopped: Cell<bool>,
}

/// The turns of all other tasks, one after the other: what lies between two turns of a task that is always ready.
pub struct Turns {
    /// Nanoseconds by the clock.
    pub whole: Histogram<u64>,
    /// Nanoseconds that were the shard's own: [`Spent::own`].
    pub own: Histogram<u64>,
    /// The longest of `own`, exactly.
    pub longest_own: Duration,
    /// All that took longer than [`NOTED`] by the clock.
    pub noted: Vec<Spent>,
}

/// An empty histogram of nanoseconds.
pub fn nanoseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("plain bounds")
}

impl Turns {
    fn none() -> Self {
        Self { whole: nanoseconds(), own: nanoseconds(), longest_own: Duration::ZERO, noted: Vec::new() }
    }

    fn note(&mut self, turn: Spent) {
        self.whole.saturating_record(turn.whole.as_nanos() as u64);
        self.own.saturating_record(turn.own().as_nanos() as u64);
        self.longest_own = self.longest_own.max(turn.own());
        if turn.whole > NOTED {
            self.noted.push(turn);
        }
    }
}

impl Probe {
    /// Begins to measure.
    pub fn start() -> Rc<Self> {
        let probe = Rc::new(Self { turns: RefCell::new(Turns::none()), stopped: Cell::new(false) });
        let run = probe.clone();
        Linux::spawn(async move {
            let meters = Meters::of_this_thread();
            let mut last = meters.read();
            while !run.stopped.get() {
                Linux::yield_now().await;
                let now = meters.read();
                run.turns.borrow_mut().note(Spent::between(&last, &now));
                last = now;
            }
        });
        probe
    }

    /// What was measured since the last call.
    pub fn take(&self) -> Turns {
        self.turns.replace(Turns::none())
    }

    /// Forgets what was measured since the last call, and the turn in which this is called: what the harness did in it.
    pub async fn forget(&self) {
        // The first yield may end in the same turn.
        Linux::yield_now().await;
        Linux::yield_now().await;
        drop(self.take());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stopped.set(true);
    }
}

/// Stops the probe when it goes out of scope.
pub struct Running(pub Rc<Probe>);
