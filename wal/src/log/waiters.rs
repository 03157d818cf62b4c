//! Those who wait for their records, in the order of the appends: who came first is told first.

use std::collections::VecDeque;

use crate::LogError;

/// Whom to tell about the end of an append.
pub type OnDurable = Box<dyn FnOnce(Result<(), LogError>)>;

/// A line of callbacks. Those at its front may be durable already, and are about to be told.
#[derive(Default)]
pub struct Waiters {
    line: VecDeque<Waiter>,
    /// How many at the front are durable.
    durable: usize,
}

struct Waiter {
    on_durable: OnDurable,
    /// Why nothing was taken, when a refused append waits in line.
    refused: Option<Box<LogError>>,
}

impl Waiters {
    /// Adds one to the end of the line. What was `refused` is told so, in its turn.
    #[inline]
    pub fn push(&mut self, on_durable: OnDurable, refused: Result<(), Box<LogError>>) {
        self.line.push_back(Waiter { on_durable, refused: refused.err() });
    }

    /// The first `count` of those who were not durable yet are now.
    pub fn are_durable(&mut self, count: usize) {
        self.durable += count;
        debug_assert!(self.durable <= self.line.len(), "only those in line can be durable");
    }

    /// Whether somebody stands in line.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Takes the next who is durable, and what to tell.
    #[inline]
    pub fn next_durable(&mut self) -> Option<(OnDurable, Result<(), LogError>)> {
        self.durable = self.durable.checked_sub(1)?;
        let waiter = self.line.pop_front()?;
        Some((waiter.on_durable, waiter.refused.map_or(Ok(()), |error| Err(*error))))
    }

    /// Takes everybody who is not durable, when nobody ever will be.
    pub fn take_rest(&mut self) -> impl Iterator<Item = OnDurable> + use<> {
        self.line.split_off(self.durable).into_iter().map(|waiter| waiter.on_durable)
    }
}
