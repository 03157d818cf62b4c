//! When operations begin.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What all clients of a phase share.
#[derive(Debug)]
pub(crate) struct Budget {
    begun: AtomicU64,
    most: u64,
    until: Option<Instant>,
}

impl Budget {
    /// At most `most` operations, none of them begun after `until`.
    pub(crate) fn new(most: u64, until: Option<Instant>) -> Self {
        Self { begun: AtomicU64::new(0), most, until }
    }

    /// The index of an operation due at `due`, if there is one more.
    fn take(&self, due: Instant) -> Option<u64> {
        if self.until.is_some_and(|until| due >= until) {
            return None;
        }
        let index = self.begun.fetch_add(1, Ordering::Relaxed);
        (index < self.most).then_some(index)
    }
}

/// Whether an operation begins now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Operation `index`, which was due at `due`: its latency counts from then.
    Begin { index: u64, due: Instant },
    /// None before this instant.
    At(Instant),
    /// None any more.
    Over,
}

/// One client's pace.
#[derive(Debug)]
pub(crate) struct Pace<'a> {
    budget: &'a Budget,
    /// Open loop: between two operations, and when the next one is due, however late the earlier ones are.
    schedule: Option<(Duration, Instant)>,
    over: bool,
}

impl<'a> Pace<'a> {
    /// A pace of `rate` operations per second from `start` on, or as fast as answers come.
    pub(crate) fn new(budget: &'a Budget, rate: Option<f64>, start: Instant) -> Self {
        let schedule = rate.map(|rate| (Duration::from_secs_f64(1.0 / rate), start));
        Self { budget, schedule, over: false }
    }

    /// What a free slot does at `now`.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if self.over {
            return Next::Over;
        }
        let due = match &mut self.schedule {
            None => now,
            Some((_, due)) if *due > now => return Next::At(*due),
            Some((every, due)) => {
                let this = *due;
                *due += *every;
                this
            }
        };
        match self.budget.take(due) {
            Some(index) => Next::Begin { index, due },
            None => {
                self.over = true;
                Next::Over
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_does_not_forgive_lateness() {
        let start = Instant::now();
        let budget = Budget::new(u64::MAX, None);
        let mut pace = Pace::new(&budget, Some(1000.0), start);
        let late = start + Duration::from_millis(5);
        for index in 0..=5 {
            let due = start + Duration::from_millis(index);
            assert_eq!(pace.next(late), Next::Begin { index, due });
        }
        assert_eq!(pace.next(late), Next::At(start + Duration::from_millis(6)));
    }

    #[test]
    fn the_budget_is_shared_and_ends() {
        let start = Instant::now();
        let budget = Budget::new(2, None);
        let (mut one, mut other) = (Pace::new(&budget, None, start), Pace::new(&budget, None, start));
        assert_eq!(one.next(start), Next::Begin { index: 0, due: start });
        assert_eq!(other.next(start), Next::Begin { index: 1, due: start });
        assert_eq!((one.next(start), other.next(start)), (Next::Over, Next::Over));
        let ended = Budget::new(u64::MAX, Some(start));
        assert_eq!(Pace::new(&ended, None, start).next(start), Next::Over);
    }
}
