//! A group's time while this replica leads it.
//!
//! ```text
//!   machine time when the leader's log was applied ─┐
//!                                                   ├─ the later one, then: with the agreed clock, or ahead of it at 7/8 of
//!   the agreed clock ───────────────────────────────┘  its rate until that has caught up
//! ```
//! Machine time may be ahead of every clock: a cluster of one node had a wrong clock, or a version that stamped by it. Leases
//! would stand still until the clocks have caught up. So the group's time runs on, at a rate at which a lease lasts at most
//! 8/7 of its ttl, and none ends early. Only the machine time that a leader finds counts, less what readers may have driven
//! it ahead: else each change of leaders would let them drive it further.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::Hlc;

use crate::clock::Clock;
use crate::env::{Env, UnixNanos};
use crate::raft::Replica;

/// Of every eight nanoseconds, a group's time that is ahead runs on by one less.
const CATCH_UP: u32 = 8;

/// The group's time at one moment of one term.
#[derive(Clone, Copy, Debug)]
struct Moment {
    term: u64,
    /// Once this entry is applied, machine time holds nothing more of earlier leaders.
    found_at: u64,
    time: UnixNanos,
    at: Duration,
}

impl Moment {
    /// The group's time at `now`, where the agreed clock shows `agreed`. Of two clocks that differ the slower one may be
    /// wrong: time that is ahead of such a clock does not wait for it.
    fn at(self, now: Duration, agreed: UnixNanos, sure: bool) -> Self {
        let passed = now.saturating_sub(self.at);
        let ran = self.time + if sure { passed - passed / CATCH_UP } else { passed };
        Self { time: ran.max(agreed), at: now, ..self }
    }
}

/// The time of a group, as long as this replica leads it.
pub(super) struct GroupTime<E: Env> {
    clock: Rc<Clock<E>>,
    replica: Rc<Replica<E>>,
    last: Cell<Option<Moment>>,
}

impl<E: Env> GroupTime<E> {
    /// The time of the group of `replica`, by `clock`.
    pub(super) fn new(clock: Rc<Clock<E>>, replica: Rc<Replica<E>>) -> Self {
        Self { clock, replica, last: Cell::new(None) }
    }

    /// The group's time by this leader: what it stamps by, and what reads are judged by.
    pub(super) fn now_ms(&self) -> u64 {
        let (now, term) = (E::boot_clock(), self.replica.leader().term);
        // The caller has waited for the judgement. Without a judgement only machine time would count.
        let agreed = self.clock.agreed().unwrap_or_default();
        let sure = self.clock.is_sure();
        let begin = || Moment { term, found_at: self.replica.last_index().max(1), time: agreed, at: now };
        let before = self.last.get().filter(|moment| moment.term == term);
        let mut moment = before.unwrap_or_else(begin).at(now, agreed, sure);
        if before.is_none() || self.replica.applied_index() < moment.found_at {
            let found_ms = self.replica.machine().borrow().time().millis();
            let found = UnixNanos(found_ms.saturating_sub(self.clock.max_ahead_ms()).saturating_mul(1_000_000));
            moment.time = moment.time.max(found);
        } else {
            moment.found_at = 0;
        }
        self.last.set(Some(moment));
        moment.time.as_millis()
    }

    /// The stamp of a batch.
    pub(super) fn stamp(&self) -> Hlc {
        self.clock.stamp().max(Hlc::from_millis(self.now_ms()))
    }

    /// Machine time, for the answers that it was decided by.
    pub(super) fn machine_time(&self) -> Hlc {
        self.replica.machine().borrow().time()
    }

    /// Returns once this replica may stamp: the clocks were judged, on a node that is alone in its cluster when it starts.
    /// Until then its own clock may be the wrong one. Returns as well once `stopped` is set and the clock has notified.
    pub(super) async fn may_stamp(&self, stopped: &Cell<bool>) {
        self.clock.wait_until(|| self.clock.is_judged() || stopped.get()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn seconds(moment: Moment) -> u64 {
        moment.time.0 / SECOND
    }

    fn at(time: u64) -> Moment {
        Moment { term: 1, found_at: 0, time: UnixNanos(time * SECOND), at: Duration::ZERO }
    }

    #[test]
    fn time_that_is_ahead_runs_on_until_the_clock_has_caught_up() {
        let mut moment = at(1_080);
        for passed in 1..=700 {
            let before = moment.time;
            moment = moment.at(Duration::from_secs(passed), UnixNanos((1_000 + passed) * SECOND), true);
            let ran = moment.time.0 - before.0;
            assert!((SECOND * 7 / 8..=SECOND).contains(&ran), "{ran} after {passed} s");
        }
        assert_eq!(seconds(moment), 1_700, "80 s were caught up in 640");
    }

    #[test]
    fn time_follows_the_clock_forward_and_never_goes_back() {
        let later = |clock: u64, sure| at(1_000).at(Duration::from_secs(8), UnixNanos(clock * SECOND), sure);
        assert_eq!(seconds(later(1_008, true)), 1_008);
        assert_eq!(seconds(later(1_300, true)), 1_300);
        assert_eq!(seconds(later(400, true)), 1_007, "it runs on while the clock is behind");
        assert_eq!(seconds(later(400, false)), 1_008, "and as fast as ever if that clock may be the wrong one");
    }
}
