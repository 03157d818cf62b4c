//! A first-come, first-served queue of wakers: what blocked senders, lock waiters and watchers stand in.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    task::Waker,
};

/// One blocked future. It stands in the queue until it is notified or withdrawn, never both.
#[derive(Debug)]
pub(super) struct Waiter {
    notified: Cell<bool>,
    waker: RefCell<Waker>,
}

impl Waiter {
    /// True once the queue has chosen this waiter; it no longer stands in the queue then.
    pub(super) fn is_notified(&self) -> bool {
        self.notified.get()
    }

    /// Keeps the waker of the latest poll.
    pub(super) fn update(&self, waker: &Waker) {
        // Usually the same task polls again: nothing to clone then.
        let old = {
            let mut current = self.waker.borrow_mut();
            if current.will_wake(waker) {
                return;
            }
            std::mem::replace(&mut *current, waker.clone())
        };
        drop(old);
    }

    fn notify(&self) {
        self.notified.set(true);
        let waker = self.waker.borrow().clone();
        waker.wake();
    }
}

/// The queue. Waiters of one queue are notified in the order in which they joined it.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    queue: RefCell<VecDeque<Rc<Waiter>>>,
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Joins the end of the queue.
    pub(super) fn join(&self, waker: &Waker) -> Rc<Waiter> {
        let waiter = Rc::new(Waiter { notified: Cell::new(false), waker: RefCell::new(waker.clone()) });
        self.queue.borrow_mut().push_back(waiter.clone());
        waiter
    }

    /// Takes the first waiter out and wakes it; false if there is none.
    pub(super) fn notify_one(&self) -> bool {
        let first = self.queue.borrow_mut().pop_front();
        let found = first.is_some();
        if let Some(waiter) = first {
            waiter.notify();
        }
        found
    }

    /// Takes out and wakes everyone who stands in the queue now, not who joins during the wake-ups.
    pub(super) fn notify_all(&self) {
        if self.is_empty() {
            return;
        }
        let all = std::mem::take(&mut *self.queue.borrow_mut());
        for waiter in all {
            waiter.notify();
        }
    }

    /// Leaves the queue without having been notified.
    pub(super) fn withdraw(&self, waiter: &Rc<Waiter>) {
        let withdrawn = {
            let mut queue = self.queue.borrow_mut();
            queue.iter().position(|w| Rc::ptr_eq(w, waiter)).and_then(|at| queue.remove(at))
        };
        drop(withdrawn);
    }
}
