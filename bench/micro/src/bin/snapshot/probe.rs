//! How long the tasks of a shard wait for their turns.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hdrhistogram::Histogram;
use kahuna_shards::env::Env;
use kahuna_shards::linux::Linux;

/// A task that yields all the time and notes how long each yield takes: what everybody else did in between.
pub struct Probe {
    gaps: RefCell<Histogram<u64>>,
    stopped: Cell<bool>,
}

/// An empty histogram of nanoseconds.
pub fn nanoseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("plain bounds")
}

impl Probe {
    /// Begins to measure.
    pub fn start() -> Rc<Self> {
        let probe = Rc::new(Self { gaps: RefCell::new(nanoseconds()), stopped: Cell::new(false) });
        let run = probe.clone();
        Linux::spawn(async move {
            let mut last = Linux::boot_clock();
            while !run.stopped.get() {
                Linux::yield_now().await;
                let now = Linux::boot_clock();
                run.gaps.borrow_mut().saturating_record((now - last).as_nanos() as u64);
                last = now;
            }
        });
        probe
    }

    /// What was measured since the last call.
    pub fn take(&self) -> Histogram<u64> {
        self.gaps.replace(nanoseconds())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stopped.set(true);
    }
}

/// Stops the probe when it goes out of scope.
pub struct Running(pub Rc<Probe>);
