//! A mutex for tasks: held across awaits, handed over in the order of arrival.

use std::{
    cell::{Cell, RefCell, RefMut},
    future::poll_fn,
    ops::{Deref, DerefMut},
    rc::Rc,
    task::{Context, Poll},
};

use openraft::rt;

use super::waiters::{Waiter, Waiters};

/// The mutex, for [`AsyncRuntime::Mutex`](rt::AsyncRuntime::Mutex).
#[derive(Debug)]
pub struct LocalMutex<T> {
    value: RefCell<T>,
    /// Stays true while the lock passes from a holder to a waiter, so that no newcomer slips in between.
    locked: Cell<bool>,
    waiting: Waiters,
}

impl<T> LocalMutex<T> {
    /// Gives the lock to the longest waiting future, or frees it.
    fn hand_over(&self) {
        if !self.waiting.notify_one() {
            self.locked.set(false);
        }
    }
}

/// The right to the value; dropping it hands the lock on.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    mutex: &'a LocalMutex<T>,
    /// `None` only while dropping. The flag `locked` makes this the only borrow there is.
    value: Option<RefMut<'a, T>>,
}

struct Locking<'a, T> {
    mutex: &'a LocalMutex<T>,
    waiter: Option<Rc<Waiter>>,
}

impl<'a, T> Locking<'a, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<MutexGuard<'a, T>> {
        match &self.waiter {
            Some(waiter) if waiter.is_notified() => self.waiter = None,
            Some(waiter) => {
                waiter.update(cx.waker());
                return Poll::Pending;
            }
            None if !self.mutex.locked.get() => self.mutex.locked.set(true),
            None => {
                self.waiter = Some(self.mutex.waiting.join(cx.waker()));
                return Poll::Pending;
            }
        }
        Poll::Ready(MutexGuard { mutex: self.mutex, value: Some(self.mutex.value.borrow_mut()) })
    }
}

impl<T> Drop for Locking<'_, T> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            if waiter.is_notified() {
                self.mutex.hand_over();
            } else {
                self.mutex.waiting.withdraw(&waiter);
            }
        }
    }
}

impl<T: rt::OptionalSend + 'static> rt::Mutex<T> for LocalMutex<T> {
    type Guard<'a> = MutexGuard<'a, T>;

    fn new(value: T) -> Self {
        Self { value: RefCell::new(value), locked: Cell::new(false), waiting: Waiters::default() }
    }

    async fn lock(&self) -> MutexGuard<'_, T> {
        let mut locking = Locking { mutex: self, waiter: None };
        poll_fn(|cx| locking.poll(cx)).await
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_deref().expect("the value is there until the guard drops")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_deref_mut().expect("the value is there until the guard drops")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        self.mutex.hand_over();
    }
}
