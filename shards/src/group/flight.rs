//! Requests that were handed on together and wait for one result.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::request::Work;

/// The requests of one batch or one read round, each until it is answered. The deadline timer, a lost leadership and the
/// result itself may all take a request out; the first of them answers it.
pub(super) struct Flight {
    works: RefCell<Vec<Option<Work>>>,
}

impl Flight {
    pub(super) fn new(works: Vec<Work>) -> Rc<Self> {
        Rc::new(Self { works: RefCell::new(works.into_iter().map(Some).collect()) })
    }

    pub(super) fn len(&self) -> usize {
        self.works.borrow().len()
    }

    /// Takes the request at `index`; `None` if it was taken before.
    pub(super) fn take(&self, index: usize) -> Option<Work> {
        self.works.borrow_mut().get_mut(index)?.take()
    }

    /// Puts a request back at its place.
    pub(super) fn put_back(&self, index: usize, work: Work) {
        let old = self.works.borrow_mut()[index].replace(work);
        debug_assert!(old.is_none(), "only who took a request puts it back");
    }

    /// Takes everything that is not answered.
    pub(super) fn take_all(&self) -> Vec<Work> {
        self.works.borrow_mut().iter_mut().filter_map(Option::take).collect()
    }

    /// Takes what waits no longer at `now`.
    pub(super) fn take_expired(&self, now: Duration) -> Vec<Work> {
        let mut works = self.works.borrow_mut();
        works.iter_mut().filter_map(|work| work.take_if(|work| work.call.deadline <= now)).collect()
    }

    /// The latest deadline of what is not answered.
    pub(super) fn latest(&self) -> Option<Duration> {
        self.works.borrow().iter().flatten().map(|work| work.call.deadline).max()
    }

    /// The earliest deadline of what is not answered.
    pub(super) fn earliest(&self) -> Option<Duration> {
        self.works.borrow().iter().flatten().map(|work| work.call.deadline).min()
    }
}

/// All flights of one kind that are under way.
pub(super) struct Flights(RefCell<Vec<Rc<Flight>>>);

impl Flights {
    pub(super) fn new() -> Self {
        Self(RefCell::default())
    }

    pub(super) fn insert(&self, flight: &Rc<Flight>) {
        self.0.borrow_mut().push(flight.clone());
    }

    pub(super) fn remove(&self, flight: &Rc<Flight>) {
        self.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, flight));
    }

    /// A copy of the list: the caller may answer requests, which must not meet a borrow.
    pub(super) fn all(&self) -> Vec<Rc<Flight>> {
        self.0.borrow().clone()
    }
}
