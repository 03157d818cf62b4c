//! One timer queue per shard.
//!
//! Groups and requests have deadlines by the thousand. As kernel timers each of those would cost a wake-up of its own. Here
//! all sleeps of 5 ms and more share slots of 10 ms, and the shard wakes up once per slot that holds anybody:
//!
//! ```text
//!   slot (boot time, ms)    47110       47120       47190
//!                           [w w w w]   [w . w]     [w]          w waker, . free place
//! ```
//!
//! Such a sleep lands in the first slot that begins at or after its deadline: it is never short, and at most 10 ms long. A
//! shorter one has a slot of its own, at its deadline.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{BootClock, reactor};
use crate::env::{Clock, ClockInstant};

/// Distance of the slots that long sleeps share.
const SLOT_NANOS: u64 = 10_000_000;
/// Sleeps shorter than this end when they should.
const COARSE_FROM: Duration = Duration::from_millis(5);
/// Emptied slots kept for reuse.
const SPARE_SLOTS: usize = 16;

#[derive(Debug, Default)]
struct Slot {
    wakers: Vec<Option<Waker>>,
    /// Places in `wakers` that are `None`, to be used again: a slot grows to its peak of sleepers, not to their sum.
    free: Vec<usize>,
}

/// The queue of one executor, by boot time in nanoseconds. The reactor fires it.
#[derive(Debug, Default)]
pub(super) struct Timers {
    slots: RefCell<BTreeMap<u64, Slot>>,
    spare: RefCell<Vec<Slot>>,
}

impl Timers {
    /// When the first sleep ends.
    pub(super) fn next(&self) -> Option<u64> {
        self.slots.borrow().first_key_value().map(|(at, _)| *at)
    }

    /// Wakes everyone in the slots up to and including `now`.
    pub(super) fn fire(&self, now: u64) {
        loop {
            let mut slot = {
                let mut slots = self.slots.borrow_mut();
                match slots.first_entry() {
                    Some(first) if *first.key() <= now => first.remove(),
                    _ => return,
                }
            };
            for waker in slot.wakers.drain(..).flatten() {
                waker.wake();
            }
            self.keep_spare(slot);
        }
    }

    /// Lets go of everybody who sleeps.
    pub(super) fn forget_sleepers(&self) {
        let slots = std::mem::take(&mut *self.slots.borrow_mut());
        // The wakers hold tasks, whose destructors may come back to this queue: it is not borrowed here.
        drop(slots);
    }

    /// Keeps an emptied slot's memory for the next one.
    fn keep_spare(&self, mut slot: Slot) {
        slot.wakers.clear();
        slot.free.clear();
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_SLOTS {
            spare.push(slot);
        }
    }

    fn insert(&self, at: u64, waker: &Waker) -> usize {
        let waker = waker.clone();
        let mut slots = self.slots.borrow_mut();
        let slot = slots.entry(at).or_insert_with(|| self.spare.borrow_mut().pop().unwrap_or_default());
        match slot.free.pop() {
            Some(place) => {
                slot.wakers[place] = Some(waker);
                place
            }
            None => {
                slot.wakers.push(Some(waker));
                slot.wakers.len() - 1
            }
        }
    }

    /// Keeps the waker of the latest poll; false if the slot has fired.
    fn update(&self, at: u64, place: usize, waker: &Waker) -> bool {
        let old = {
            let mut slots = self.slots.borrow_mut();
            let Some(slot) = slots.get_mut(&at) else { return false };
            let current = slot.wakers[place].as_mut().expect("a sleep's place is its own until it is woken or dropped");
            if current.will_wake(waker) {
                return true;
            }
            std::mem::replace(current, waker.clone())
        };
        drop(old);
        true
    }

    fn remove(&self, at: u64, place: usize) {
        let removed = {
            let mut slots = self.slots.borrow_mut();
            let Some(slot) = slots.get_mut(&at) else { return };
            let removed = slot.wakers[place].take();
            slot.free.push(place);
            // Nobody is woken up for a slot in which nobody sleeps.
            if slot.free.len() == slot.wakers.len() {
                slots.remove(&at).into_iter().for_each(|slot| self.keep_spare(slot));
            }
            removed
        };
        drop(removed);
    }
}

/// A sleep on the shard's executor, for [`AsyncRuntime::Sleep`](openraft::AsyncRuntime::Sleep).
#[derive(Debug)]
pub struct Sleep {
    deadline: ClockInstant<BootClock>,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    Queued { timers: Rc<Timers>, slot: u64, place: usize },
    Done,
}

impl Sleep {
    pub(super) fn until(deadline: ClockInstant<BootClock>) -> Self {
        Self { deadline, state: State::New }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        match &this.state {
            State::New => {
                let deadline = this.deadline.as_nanos();
                let left = deadline.saturating_sub(BootClock::now_nanos());
                if left == 0 {
                    this.state = State::Done;
                    return Poll::Ready(());
                }
                let is_coarse = Duration::from_nanos(left) >= COARSE_FROM;
                let slot = if is_coarse { deadline.div_ceil(SLOT_NANOS).saturating_mul(SLOT_NANOS) } else { deadline };
                let timers = reactor::current().timers().clone();
                let place = timers.insert(slot, cx.waker());
                this.state = State::Queued { timers, slot, place };
                Poll::Pending
            }
            State::Queued { timers, slot, place } => {
                if timers.update(*slot, *place, cx.waker()) {
                    return Poll::Pending;
                }
                this.state = State::Done;
                Poll::Ready(())
            }
            State::Done => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let State::Queued { timers, slot, place } = std::mem::replace(&mut self.state, State::Done) {
            timers.remove(slot, place);
        }
    }
}
