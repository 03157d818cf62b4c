//! A channel for exactly one value.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use openraft::rt;

/// The channel family, for [`AsyncRuntime::Oneshot`](rt::AsyncRuntime::Oneshot).
#[derive(Debug)]
pub struct LocalOneshot;

struct Shared<T> {
    value: Cell<Option<T>>,
    receiver: RefCell<Option<Waker>>,
    sender_alive: Cell<bool>,
    receiver_alive: Cell<bool>,
}

impl<T> Shared<T> {
    fn wake_receiver(&self) {
        let waker = self.receiver.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Sends one value; dropping it unsent ends the receiver's wait.
pub struct OneshotSender<T>(Rc<Shared<T>>);

/// The receiving half: a future of the value, or of [`SenderDropped`].
pub struct OneshotReceiver<T>(Rc<Shared<T>>);

/// The sender was dropped without having sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderDropped;

impl fmt::Display for SenderDropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sender was dropped without an answer")
    }
}

impl std::error::Error for SenderDropped {}

impl LocalOneshot {
    /// A new channel; the trait's `channel` without the need to import it.
    pub fn pair<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
        let shared = Rc::new(Shared {
            value: Cell::new(None),
            receiver: RefCell::new(None),
            sender_alive: Cell::new(true),
            receiver_alive: Cell::new(true),
        });
        (OneshotSender(shared.clone()), OneshotReceiver(shared))
    }
}

impl<T> OneshotSender<T> {
    /// Hands the value over; gives it back if the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        if !self.0.receiver_alive.get() {
            return Err(value);
        }
        // The waiting side is woken by our own drop, at the end of this call.
        self.0.value.set(Some(value));
        Ok(())
    }

    /// True once the receiver was dropped.
    pub fn is_closed(&self) -> bool {
        !self.0.receiver_alive.get()
    }
}

impl rt::Oneshot for LocalOneshot {
    type Sender<T: rt::OptionalSend> = OneshotSender<T>;
    type Receiver<T: rt::OptionalSend> = OneshotReceiver<T>;
    type ReceiverError = SenderDropped;

    fn channel<T: rt::OptionalSend>() -> (OneshotSender<T>, OneshotReceiver<T>) {
        Self::pair()
    }
}

impl<T: rt::OptionalSend> rt::OneshotSender<T> for OneshotSender<T> {
    fn send(self, value: T) -> Result<(), T> {
        OneshotSender::send(self, value)
    }
}

impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, SenderDropped>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(value) = self.0.value.take() {
            return Poll::Ready(Ok(value));
        }
        if !self.0.sender_alive.get() {
            return Poll::Ready(Err(SenderDropped));
        }
        let old = self.0.receiver.borrow_mut().replace(cx.waker().clone());
        drop(old);
        Poll::Pending
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        self.0.sender_alive.set(false);
        self.0.wake_receiver();
    }
}

impl<T> Drop for OneshotReceiver<T> {
    fn drop(&mut self) {
        self.0.receiver_alive.set(false);
        let waker = self.0.receiver.borrow_mut().take();
        drop((waker, self.0.value.take()));
    }
}
