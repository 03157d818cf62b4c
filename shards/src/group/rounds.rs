//! The read queue: what waits for a ReadIndex round, and what is in one.

use std::cell::RefCell;
use std::rc::Rc;

use super::flight::{Flight, Flights};
use super::workers::Workers;
use crate::request::Work;

/// Rounds of one group in flight: while one is on the wire, the next one can start.
const MAX_ROUNDS: u32 = 2;

/// What waits for a round and what is in one.
pub(super) struct Rounds {
    pending: RefCell<Vec<Work>>,
    flights: Flights,
    /// Tasks that take what waits through a round, then what waits by then.
    pub(super) readers: Workers,
}

impl Rounds {
    pub(super) fn new() -> Self {
        Self { pending: RefCell::default(), flights: Flights::new(), readers: Workers::new(MAX_ROUNDS) }
    }

    pub(super) fn take_pending(&self) -> Vec<Work> {
        self.pending.take()
    }

    /// Takes everything that is in a round and is not answered.
    pub(super) fn take_begun(&self) -> Vec<Work> {
        self.flights.all().iter().flat_map(|flight| flight.take_all()).collect()
    }

    pub(super) fn flights(&self) -> Vec<Rc<Flight>> {
        self.flights.all()
    }

    pub(super) fn pending(&self) -> &RefCell<Vec<Work>> {
        &self.pending
    }

    /// Puts a read where the next round takes it.
    pub(super) fn push(&self, work: Work) {
        self.pending.borrow_mut().push(work);
    }

    /// Counts the reads of `flight` as being in a round.
    pub(super) fn round_began(&self, flight: &Rc<Flight>) {
        self.flights.insert(flight);
    }

    /// The end of [`round_began`](Self::round_began).
    pub(super) fn round_ended(&self, flight: &Rc<Flight>) {
        self.flights.remove(flight);
    }
}
