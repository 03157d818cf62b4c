//! A future that is polled once when it is made.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Runs a future up to its first wait at once, the rest when polled. What it hands over before that wait is handed over in
/// the order of these calls.
pub enum Eager<F: Future> {
    /// It waits.
    Waiting(Pin<Box<F>>),
    /// It ended without waiting.
    Ended(Option<F::Output>),
}

impl<F: Future> Eager<F> {
    /// Begins.
    pub fn new(future: F) -> Self {
        let mut future = Box::pin(future);
        // This poll registers no waker; the next poll does, wherever the future waits.
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Self::Waiting(future),
            Poll::Ready(output) => Self::Ended(Some(output)),
        }
    }
}

impl<F: Future> Unpin for Eager<F> {}

impl<F: Future> Future for Eager<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match &mut *self {
            Self::Waiting(future) => future.as_mut().poll(cx),
            Self::Ended(output) => Poll::Ready(output.take().expect("polled once more after its end")),
        }
    }
}
