//! Virtual time and the timers on it.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
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
    asked: Cell<u64>,
    waiting: RefCell<BTreeMap<(u64, u64), Waker>>,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self { now: Cell::new(ORIGIN_NANOS), asked: Cell::new(0), waiting: RefCell::default() }
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
        let next = self.waiting.borrow().first_key_value().map(|((deadline, _), _)| *deadline);
        if let Some(deadline) = next {
            self.now.set(self.now.get().max(deadline));
            self.fire();
        }
        next.is_some()
    }

    fn fire(&self) {
        loop {
            let due = {
                let mut waiting = self.waiting.borrow_mut();
                match waiting.first_key_value() {
                    Some(((deadline, _), _)) if *deadline <= self.now.get() => waiting.pop_first(),
                    _ => return,
                }
            };
            if let Some((_, waker)) = due {
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
    key: Option<(u64, u64)>,
}

impl Sleep {
    /// Sleeps on the clock of the world that runs on the calling thread.
    pub fn until(deadline: ClockInstant<VirtualClock>) -> Self {
        Self { timers: current().timers.clone(), deadline: deadline.as_nanos(), key: None }
    }

    fn forget(&mut self) {
        if let Some(key) = self.key.take() {
            let waker = self.timers.waiting.borrow_mut().remove(&key);
            drop(waker);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline <= self.timers.now() {
            self.forget();
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or_else(|| {
            let asked = self.timers.asked.get();
            self.timers.asked.set(asked + 1);
            (self.deadline, asked)
        });
        self.key = Some(key);
        let old = self.timers.waiting.borrow_mut().insert(key, cx.waker().clone());
        drop(old);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}
