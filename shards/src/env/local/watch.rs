//! A channel that keeps only the last value and wakes its receivers when the value changes.
//!
//! Receivers are woken in the order in which they began to wait.

use std::{
    cell::{Cell, Ref, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
};

use openraft::rt::{
    self,
    watch::{RecvError, SendError},
};

use super::waiters::{Waiter, Waiters};

/// The channel family, for [`AsyncRuntime::Watch`](rt::AsyncRuntime::Watch).
#[derive(Debug)]
pub struct LocalWatch;

struct Shared<T> {
    value: RefCell<T>,
    /// Rises with every change that is announced; a receiver compares it with what it has seen.
    version: Cell<u64>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    waiting: Waiters,
}

impl<T> Shared<T> {
    fn announce(&self) {
        self.version.set(self.version.get() + 1);
        self.waiting.notify_all();
    }
}

/// Replaces the value that all receivers see.
pub struct WatchSender<T>(Rc<Shared<T>>);

/// A receiving half, with its own mark of what it has seen.
pub struct WatchReceiver<T> {
    shared: Rc<Shared<T>>,
    seen: u64,
}

impl<T> WatchReceiver<T> {
    fn new(shared: &Rc<Shared<T>>, seen: u64) -> Self {
        shared.receivers.set(shared.receivers.get() + 1);
        Self { shared: shared.clone(), seen }
    }
}

impl rt::Watch for LocalWatch {
    type Sender<T: rt::OptionalSend + rt::OptionalSync> = WatchSender<T>;
    type Receiver<T: rt::OptionalSend + rt::OptionalSync> = WatchReceiver<T>;
    type Ref<'a, T: rt::OptionalSend + 'a> = Ref<'a, T>;

    fn channel<T: rt::OptionalSend + rt::OptionalSync>(init: T) -> (WatchSender<T>, WatchReceiver<T>) {
        let shared = Rc::new(Shared {
            value: RefCell::new(init),
            version: Cell::new(0),
            senders: Cell::new(1),
            receivers: Cell::new(0),
            waiting: Waiters::default(),
        });
        let receiver = WatchReceiver::new(&shared, 0);
        (WatchSender(shared), receiver)
    }
}

impl<T: rt::OptionalSend + rt::OptionalSync> rt::WatchSender<LocalWatch, T> for WatchSender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.receivers.get() == 0 {
            return Err(SendError(value));
        }
        let old = self.0.value.replace(value);
        self.0.announce();
        drop(old);
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        let modified = modify(&mut self.0.value.borrow_mut());
        if modified {
            self.0.announce();
        }
        modified
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.0.value.borrow()
    }

    fn subscribe(&self) -> WatchReceiver<T> {
        WatchReceiver::new(&self.0, self.0.version.get())
    }
}

/// A wait for a change; dropping it leaves the queue.
struct Changing<'a, T> {
    receiver: &'a mut WatchReceiver<T>,
    waiter: Option<Rc<Waiter>>,
}

impl<T> Changing<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        let shared = &self.receiver.shared;
        let version = shared.version.get();
        if self.receiver.seen != version {
            self.receiver.seen = version;
            return Poll::Ready(Ok(()));
        }
        if shared.senders.get() == 0 {
            return Poll::Ready(Err(RecvError(())));
        }
        match &self.waiter {
            Some(waiter) if !waiter.is_notified() => waiter.update(cx.waker()),
            _ => self.waiter = Some(shared.waiting.join(cx.waker())),
        }
        Poll::Pending
    }
}

impl<T> Drop for Changing<'_, T> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take()
            && !waiter.is_notified()
        {
            self.receiver.shared.waiting.withdraw(&waiter);
        }
    }
}

impl<T: rt::OptionalSend + rt::OptionalSync> rt::WatchReceiver<LocalWatch, T> for WatchReceiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        let mut changing = Changing { receiver: self, waiter: None };
        poll_fn(|cx| changing.poll(cx)).await
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.shared.value.borrow()
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.seen = self.shared.version.get();
        self.shared.value.borrow()
    }
}

impl<T> Clone for WatchSender<T> {
    fn clone(&self) -> Self {
        self.0.senders.set(self.0.senders.get() + 1);
        Self(self.0.clone())
    }
}

impl<T> Clone for WatchReceiver<T> {
    fn clone(&self) -> Self {
        Self::new(&self.shared, self.seen)
    }
}

impl<T> Drop for WatchSender<T> {
    fn drop(&mut self) {
        let left = self.0.senders.get() - 1;
        self.0.senders.set(left);
        if left == 0 {
            self.0.waiting.notify_all();
        }
    }
}

impl<T> Drop for WatchReceiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.set(self.shared.receivers.get() - 1);
    }
}
