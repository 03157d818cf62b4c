//! One coarse timer queue per shard.
//!
//! openraft ticks every group about a hundred times a second, and every request has a deadline. As kernel timers each of
//! those would cost a park and an unpark of the executor. Here they share slots of 10 ms, and the executor is woken once
//! per slot that holds anybody:
//!
//! ```text
//!   slot (boot time / 10 ms)    4711        4712        4719
//!                               [w w w w]   [w . w]     [w]          w waker, . free place
//! ```
//!
//! A sleep lands in the first slot that begins at or after its deadline: it is never short, and at most 10 ms long. Sleeps
//! under 5 ms bypass the queue.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use glommio::timer::Timer;

use super::BootClock;
use crate::env::{Clock, ClockInstant};

/// Length of a slot.
const SLOT_NANOS: u64 = 10_000_000;
/// Sleeps shorter than this get a timer of their own.
const COARSE_FROM: Duration = Duration::from_millis(5);
/// Emptied slots kept for reuse.
const SPARE_SLOTS: usize = 16;

#[derive(Debug, Default)]
struct Slot {
    wakers: Vec<Option<Waker>>,
    /// Places in `wakers` that are `None`, to be used again: a slot grows to its peak of sleepers, not to their sum.
    free: Vec<usize>,
}

/// The queue of one executor. Lives as long as the executor runs, and longer only as far as sleeps hold on to it.
#[derive(Debug, Default)]
pub(super) struct Timers {
    slots: RefCell<BTreeMap<u64, Slot>>,
    spare: RefCell<Vec<Slot>>,
    /// The slot the driver sleeps for; `u64::MAX` when the queue is empty.
    armed: Cell<u64>,
    driver: RefCell<Option<Waker>>,
}

thread_local! {
    static TIMERS: RefCell<Option<Rc<Timers>>> = const { RefCell::new(None) };
}

fn current() -> Rc<Timers> {
    TIMERS.with_borrow(Clone::clone).expect("a shard sleeps on its own executor, which has a timer queue")
}

impl Timers {
    /// Gives the calling thread a queue until the returned guard drops, and the future that drives it: to be spawned on
    /// the executor that is about to run.
    pub(super) fn install() -> (Installed, impl Future<Output = ()> + 'static) {
        let timers = Rc::new(Timers { armed: Cell::new(u64::MAX), ..Timers::default() });
        let previous = TIMERS.replace(Some(timers.clone()));
        (Installed { previous }, async move { timers.drive().await })
    }

    async fn drive(&self) {
        loop {
            let now = BootClock::now_nanos();
            self.fire(now / SLOT_NANOS);
            let next = self.slots.borrow().first_key_value().map(|(slot, _)| *slot);
            self.armed.set(next.unwrap_or(u64::MAX));
            let mut timer = next.map(|slot| Timer::new(Duration::from_nanos((slot * SLOT_NANOS).saturating_sub(now))));
            // Ends at the slot, or as soon as an earlier slot is taken.
            poll_fn(|cx| {
                if self.armed.get() != next.unwrap_or(u64::MAX) {
                    return Poll::Ready(());
                }
                let old = self.driver.borrow_mut().replace(cx.waker().clone());
                drop(old);
                match &mut timer {
                    Some(timer) => Pin::new(timer).poll(cx).map(drop),
                    None => Poll::Pending,
                }
            })
            .await;
        }
    }

    /// Wakes everyone in the slots up to and including `upto`.
    fn fire(&self, upto: u64) {
        loop {
            let mut slot = {
                let mut slots = self.slots.borrow_mut();
                match slots.first_key_value() {
                    Some((first, _)) if *first <= upto => {}
                    _ => return,
                }
                let (_, slot) = slots.pop_first().expect("a first slot was just seen");
                slot
            };
            for waker in slot.wakers.drain(..).flatten() {
                waker.wake();
            }
            self.keep_spare(slot);
        }
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

    fn insert(&self, slot: u64, waker: &Waker) -> usize {
        let waker = waker.clone();
        let place = {
            let mut slots = self.slots.borrow_mut();
            let slot = slots.entry(slot).or_insert_with(|| self.spare.borrow_mut().pop().unwrap_or_default());
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
        };
        if slot < self.armed.get() {
            self.armed.set(slot);
            let driver = self.driver.borrow_mut().take();
            if let Some(driver) = driver {
                driver.wake();
            }
        }
        place
    }

    /// Keeps the waker of the latest poll; false if the slot has fired.
    fn update(&self, slot: u64, place: usize, waker: &Waker) -> bool {
        let old = {
            let mut slots = self.slots.borrow_mut();
            let Some(slot) = slots.get_mut(&slot) else { return false };
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
            // A slot nobody waits for is dropped, unless the driver sleeps for it already: that one takes it along.
            if slot.free.len() == slot.wakers.len() && at != self.armed.get() {
                slots.remove(&at).into_iter().for_each(|slot| self.keep_spare(slot));
            }
            removed
        };
        drop(removed);
    }
}

/// Ends the thread's timer queue when dropped.
pub(super) struct Installed {
    previous: Option<Rc<Timers>>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        let timers = TIMERS.replace(self.previous.take());
        if let Some(timers) = timers {
            let slots = std::mem::take(&mut *timers.slots.borrow_mut());
            let driver = timers.driver.borrow_mut().take();
            // The wakers hold tasks, whose destructors may come back to this queue: it is not borrowed here.
            drop((slots, driver));
        }
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
    Exact(Timer),
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
        loop {
            match &mut this.state {
                State::New => {
                    let deadline = this.deadline.as_nanos();
                    let left = deadline.saturating_sub(BootClock::now_nanos());
                    if left == 0 {
                        this.state = State::Done;
                        return Poll::Ready(());
                    }
                    let left = Duration::from_nanos(left);
                    if left < COARSE_FROM {
                        this.state = State::Exact(Timer::new(left));
                        continue;
                    }
                    let timers = current();
                    let slot = deadline.div_ceil(SLOT_NANOS);
                    let place = timers.insert(slot, cx.waker());
                    this.state = State::Queued { timers, slot, place };
                    return Poll::Pending;
                }
                // The kernel's timer counts another clock than boot time, so the deadline is looked at again.
                State::Exact(timer) => {
                    if Pin::new(timer).poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    this.state = State::New;
                }
                State::Queued { timers, slot, place } => {
                    if timers.update(*slot, *place, cx.waker()) {
                        return Poll::Pending;
                    }
                    this.state = State::Done;
                    return Poll::Ready(());
                }
                State::Done => return Poll::Ready(()),
            }
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
