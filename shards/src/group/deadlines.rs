//! The one timer of a group: it sleeps for the earliest deadline that anybody waits with.

use std::rc::Rc;
use std::time::Duration;

use super::group::Group;
use crate::env::Env;
use crate::request::Work;

impl<E: Env> Group<E> {
    /// Makes sure that the timer looks at `deadline`. Requests of one kind tend to have one timeout, so the timer is rarely
    /// set anew: most requests are answered long before it looks.
    pub(super) fn arm(self: &Rc<Self>, deadline: Duration) {
        if deadline < self.armed.get() {
            self.armed.set(deadline);
            E::spawn(self.clone().sleep_until(deadline));
        }
    }

    async fn sleep_until(self: Rc<Self>, deadline: Duration) {
        E::sleep(deadline.saturating_sub(E::boot_clock())).await;
        // Another timer may have been set for an earlier deadline; that one goes on from there.
        if self.armed.get() == deadline {
            self.armed.set(Duration::MAX);
            if let Some(next) = self.end_waits(E::boot_clock()) {
                self.arm(next);
            }
        }
    }

    /// Ends every wait whose deadline passed, and gives the earliest deadline of the others.
    fn end_waits(&self, now: Duration) -> Option<Duration> {
        let late = |work: &Work| work.call.deadline <= now;
        let unproposed: Vec<_> = {
            let mut pending = self.proposals.pending().borrow_mut();
            let (expired, rest): (Vec<_>, Vec<_>) = pending.drain(..).partition(late);
            pending.extend(rest);
            let mut reads = self.rounds.pending().borrow_mut();
            expired.into_iter().chain(reads.extract_if(.., |work| late(work))).collect()
        };
        let unled: Vec<_> = self.parked.borrow_mut().extract_if(.., |work| late(work)).collect();
        let proposals = self.proposals.flights();
        let rounds = self.rounds.flights();

        unproposed.into_iter().for_each(Work::time_out);
        unled.into_iter().for_each(|work| self.refuse_unled(work));
        for work in proposals.iter().flat_map(|flight| flight.take_expired(now)) {
            work.give_up("the deadline passed after the request was proposed");
        }
        for work in rounds.iter().flat_map(|flight| flight.take_expired(now)) {
            work.time_out();
        }

        let waiting = self.proposals.pending().borrow().iter().map(|work| work.call.deadline).min();
        let reading = self.rounds.pending().borrow().iter().map(|work| work.call.deadline).min();
        let parked = self.parked.borrow().iter().map(|work| work.call.deadline).min();
        let flying = proposals.iter().chain(&rounds).filter_map(|flight| flight.earliest()).min();
        [waiting, reading, parked, flying].into_iter().flatten().min()
    }
}
