//! A bounded channel with many senders and one receiver.
//!
//! Backpressure is fair: a slot that becomes free belongs to the sender that has waited longest (`promised` counts
//! such slots), and a newcomer cannot take it.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use openraft::rt::{self, SendError, TryRecvError};

use super::quiet::is_quiet;
use super::waiters::{Waiter, Waiters};

/// Messages that gather before a quiet one wakes the receiver nevertheless.
const MOST_QUIET: usize = 64;

/// The channel family, for [`AsyncRuntime::Mpsc`](rt::AsyncRuntime::Mpsc).
#[derive(Debug)]
pub struct LocalMpsc;

struct Shared<T> {
    queue: RefCell<VecDeque<T>>,
    capacity: usize,
    /// Free slots that were given to notified waiters which have not polled since.
    promised: Cell<usize>,
    senders: Cell<usize>,
    receiver_alive: Cell<bool>,
    receiver: RefCell<Option<Waker>>,
    blocked: Waiters,
}

impl<T> Shared<T> {
    fn has_free_slot(&self) -> bool {
        self.queue.borrow().len() + self.promised.get() < self.capacity
    }

    /// Promises free slots to those who wait for one.
    fn promise(&self) {
        while self.has_free_slot() && !self.blocked.is_empty() {
            self.promised.set(self.promised.get() + 1);
            self.blocked.notify_one();
        }
    }

    fn push(&self, message: T) {
        let mut queue = self.queue.borrow_mut();
        queue.push_back(message);
        let waits = is_quiet() && queue.len() < MOST_QUIET.min(self.capacity);
        drop(queue);
        if !waits {
            self.wake_receiver();
        }
    }

    fn pop(&self) -> Option<T> {
        let message = self.queue.borrow_mut().pop_front();
        if message.is_some() {
            self.promise();
        }
        message
    }

    fn wake_receiver(&self) {
        let waker = self.receiver.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The sending half; the channel closes when the last one is dropped.
pub struct MpscSender<T>(Rc<Shared<T>>);

/// The receiving half; dropping it drops what is queued and fails every sender.
pub struct MpscReceiver<T>(Rc<Shared<T>>);

/// A sender that does not keep the channel open.
pub struct MpscWeakSender<T>(Rc<Shared<T>>);

impl rt::Mpsc for LocalMpsc {
    type Sender<T: rt::OptionalSend> = MpscSender<T>;
    type Receiver<T: rt::OptionalSend> = MpscReceiver<T>;
    type WeakSender<T: rt::OptionalSend> = MpscWeakSender<T>;

    fn channel<T: rt::OptionalSend>(buffer: usize) -> (MpscSender<T>, MpscReceiver<T>) {
        assert!(buffer > 0, "a bounded channel needs room for one message");
        let shared = Rc::new(Shared {
            // Grown on demand: openraft asks for thousands of slots per group and uses a handful.
            queue: RefCell::new(VecDeque::new()),
            capacity: buffer,
            promised: Cell::new(0),
            senders: Cell::new(1),
            receiver_alive: Cell::new(true),
            receiver: RefCell::new(None),
            blocked: Waiters::default(),
        });
        (MpscSender(shared.clone()), MpscReceiver(shared))
    }
}

/// A send in progress. Dropping it while blocked gives its place, or its promised slot, to the next in line.
struct Sending<'a, T> {
    shared: &'a Rc<Shared<T>>,
    message: Option<T>,
    waiter: Option<Rc<Waiter>>,
}

impl<T> Sending<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        let shared = self.shared;
        if !shared.receiver_alive.get() {
            let message = self.message.take().expect("a send is polled until it is ready, once");
            return Poll::Ready(Err(SendError(message)));
        }
        match &self.waiter {
            Some(waiter) if waiter.is_notified() => {
                self.waiter = None;
                shared.promised.set(shared.promised.get() - 1);
            }
            Some(waiter) => {
                waiter.update(cx.waker());
                return Poll::Pending;
            }
            None if shared.has_free_slot() => {}
            None => {
                self.waiter = Some(shared.blocked.join(cx.waker()));
                return Poll::Pending;
            }
        }
        shared.push(self.message.take().expect("a send is polled until it is ready, once"));
        Poll::Ready(Ok(()))
    }
}

impl<T> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            if waiter.is_notified() {
                self.shared.promised.set(self.shared.promised.get() - 1);
                self.shared.promise();
            } else {
                self.shared.blocked.withdraw(&waiter);
            }
        }
    }
}

impl<T: rt::OptionalSend> rt::MpscSender<LocalMpsc, T> for MpscSender<T> {
    async fn send(&self, message: T) -> Result<(), SendError<T>> {
        let mut sending = Sending { shared: &self.0, message: Some(message), waiter: None };
        poll_fn(|cx| sending.poll(cx)).await
    }

    fn downgrade(&self) -> MpscWeakSender<T> {
        MpscWeakSender(self.0.clone())
    }
}

impl<T: rt::OptionalSend> rt::MpscReceiver<T> for MpscReceiver<T> {
    async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| {
            if let Some(message) = self.0.pop() {
                return Poll::Ready(Some(message));
            }
            if self.0.senders.get() == 0 {
                return Poll::Ready(None);
            }
            let old = self.0.receiver.borrow_mut().replace(cx.waker().clone());
            drop(old);
            Poll::Pending
        })
        .await
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.0.pop() {
            Some(message) => Ok(message),
            None if self.0.senders.get() == 0 => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }
}

impl<T: rt::OptionalSend> rt::MpscWeakSender<LocalMpsc, T> for MpscWeakSender<T> {
    fn upgrade(&self) -> Option<MpscSender<T>> {
        let senders = self.0.senders.get();
        if senders == 0 {
            return None;
        }
        self.0.senders.set(senders + 1);
        Some(MpscSender(self.0.clone()))
    }
}

impl<T> Clone for MpscSender<T> {
    fn clone(&self) -> Self {
        self.0.senders.set(self.0.senders.get() + 1);
        Self(self.0.clone())
    }
}

impl<T> Clone for MpscWeakSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Drop for MpscSender<T> {
    fn drop(&mut self) {
        let left = self.0.senders.get() - 1;
        self.0.senders.set(left);
        if left == 0 {
            self.0.wake_receiver();
        }
    }
}

impl<T> Drop for MpscReceiver<T> {
    fn drop(&mut self) {
        self.0.receiver_alive.set(false);
        let waker = self.0.receiver.borrow_mut().take();
        let queued = std::mem::take(&mut *self.0.queue.borrow_mut());
        // Blocked senders hold no promise worth keeping now: each is woken to find the channel closed.
        while !self.0.blocked.is_empty() {
            self.0.promised.set(self.0.promised.get() + 1);
            self.0.blocked.notify_one();
        }
        drop((waker, queued));
    }
}
