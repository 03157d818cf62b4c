//! The read queue: what waits for a ReadIndex round, and what is in one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::flight::{Flight, Flights};
use crate::request::Work;

/// Rounds of one group in flight: while one is on the wire, the next one can start.
const MAX_ROUNDS: u32 = 2;

/// What waits for a round and what is in one.
pub(super) struct Rounds {
    pending: RefCell<Vec<Work>>,
    flights: Flights,
    readers: Cell<u32>,
    /// A reader was started and has not looked at the queue yet.
    starting: Cell<bool>,
}

impl Rounds {
    pub(super) fn new() -> Self {
        Self { pending: RefCell::default(), flights: Flights::new(), readers: Cell::new(0), starting: Cell::new(false) }
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

    /// Counts one more reader. False if there are enough, or if one that was started has not looked at the queue yet.
    pub(super) fn add_reader(&self) -> bool {
        let added = self.readers.get() < MAX_ROUNDS && !self.starting.replace(true);
        self.readers.set(self.readers.get() + u32::from(added));
        added
    }

    /// A reader that was added looks at the queue now.
    pub(super) fn reader_started(&self) {
        self.starting.set(false);
    }

    /// A reader found nothing to read and ends.
    pub(super) fn reader_ended(&self) {
        self.readers.set(self.readers.get() - 1);
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
