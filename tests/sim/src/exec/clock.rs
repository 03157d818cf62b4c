//! Virtual time and the timers on it.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::BinaryHeap,
    future::Future,
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use kahuna_shards::env::{Clock, ClockInstant};

use super::current;

/// Where virtual time begins: an hour after boot, so that looking back a little is no special case.
const ORIGIN_NANOS: u64 = 3_600_000_000_000;

/// The boot clock of every simulated node: the time of the world that runs on the calling thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VirtualClock;

impl Clock for VirtualClock {
    fn now_nanos() -> u64 {
        current().timers.now()
    }
}

/// The time of one world, and who waits for which moment of it. At one moment, who asked first is woken first.
#[derive(Debug)]
pub(crate) struct Timers {
    now: Cell<u64>,
    waiting: RefCell<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    asked: u64,
    /// Deadline, number and place of every alarm, set ones and those that were given up.
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    /// The alarms that are set, each with its number.
    places: Vec<Option<(u64, Waker)>>,
    free: Vec<usize>,
}

impl Waiting {
    /// Sets an alarm; returns its place.
    fn set(&mut self, deadline: u64, waker: Waker) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some((self.asked, waker));
        self.queue.push(Reverse((deadline, self.asked, place)));
        self.asked += 1;
        place
    }

    fn clear(&mut self, place: usize) -> Option<Waker> {
        let (_, waker) = self.places[place].take()?;
        self.free.push(place);
        Some(waker)
    }

    /// The next alarm that is set: its deadline and place.
    fn next(&mut self) -> Option<(u64, usize)> {
        while let Some(Reverse((deadline, number, place))) = self.queue.peek().copied() {
            if self.places[place].as_ref().is_some_and(|(set, _)| *set == number) {
                return Some((deadline, place));
            }
            self.queue.pop();
        }
        None
    }
}

impl Timers {
    pub(super) fn new() -> Self {
        Self { now: Cell::new(ORIGIN_NANOS), waiting: RefCell::default() }
    }

    /// Nanoseconds since the simulated boot.
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    /// Lets `nanos` pass and wakes who is due.
    pub(super) fn advance(&self, nanos: u64) {
        self.now.set(self.now.get() + nanos);
        self.fire();
    }

    /// Lets time pass until the next deadline; false if there is none.
    pub(super) fn advance_to_next(&self) -> bool {
        let next = self.waiting.borrow_mut().next();
        if let Some((deadline, _)) = next {
            self.now.set(self.now.get().max(deadline));
            self.fire();
        }
        next.is_some()
    }

    fn fire(&self) {
        loop {
            let due = {
                let mut waiting = self.waiting.borrow_mut();
                match waiting.next() {
                    Some((deadline, place)) if deadline <= self.now.get() => waiting.clear(place),
                    _ => return,
                }
            };
            if let Some(waker) = due {
                waker.wake();
            }
        }
    }
}

/// A sleep until a moment of virtual time, exact to the nanosecond.
#[derive(Debug)]
pub struct Sleep {
    timers: Rc<Timers>,
    deadline: u64,
    /// Of its alarm, and that alarm's number.
    place: Option<(usize, u64)>,
}

impl Sleep {
    /// Sleeps on the clock of the world that runs on the calling thread.
    pub fn until(deadline: ClockInstant<VirtualClock>) -> Self {
        Self { timers: current().timers.clone(), deadline: deadline.as_nanos(), place: None }
    }

    /// Its alarm, unless it went off or was never set.
    fn alarm<'a>(&self, waiting: &'a mut Waiting) -> Option<(usize, &'a mut Waker)> {
        let (place, number) = self.place?;
        let (set, waker) = waiting.places[place].as_mut()?;
        (*set == number).then_some((place, waker))
    }

    fn forget(&mut self) {
        let waker = {
            let mut waiting = self.timers.waiting.borrow_mut();
            let place = self.alarm(&mut waiting).map(|(place, _)| place);
            place.and_then(|place| waiting.clear(place))
        };
        self.place = None;
        drop(waker);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline <= self.timers.now() {
            self.forget();
            return Poll::Ready(());
        }
        let timers = self.timers.clone();
        let mut waiting = timers.waiting.borrow_mut();
        let old = match self.alarm(&mut waiting) {
            Some((_, waker)) if waker.will_wake(cx.waker()) => None,
            Some((_, waker)) => Some(mem::replace(waker, cx.waker().clone())),
            None => {
                let number = waiting.asked;
                self.place = Some((waiting.set(self.deadline, cx.waker().clone()), number));
                None
            }
        };
        drop(waiting);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}
