//! Those who wait for their records, in the order of the appends: the first is called back first.

use std::collections::VecDeque;

use crate::LogError;

/// Callback for the end of an append.
pub type OnDurable = Box<dyn FnOnce(Result<(), LogError>)>;

/// A line of callbacks. Those at its front may be durable already, and are about to be called back.
#[derive(Default)]
pub struct Waiters {
    line: VecDeque<OnDurable>,
    /// How many at the front are durable.
    durable: usize,
    /// How many left the line from its front.
    left: u64,
    /// Refused appends in the line, each with its error and its place, counted from the first append ever. Apart from the
    /// line, because they are rare.
    refused: VecDeque<(u64, LogError)>,
}

impl Waiters {
    /// Adds a callback to the end of the line. If the append was `refused`, the callback gets the error when it is first in
    /// line.
    pub fn push(&mut self, on_durable: OnDurable, refused: Result<(), Box<LogError>>) {
        if let Err(error) = refused {
            self.refused.push_back((self.left + self.line.len() as u64, *error));
        }
        self.line.push_back(on_durable);
    }

    /// The first `count` of those who were not durable yet are now.
    pub fn are_durable(&mut self, count: usize) {
        self.durable += count;
        debug_assert!(self.durable <= self.line.len(), "only those in line can be durable");
    }

    /// Whether no callback waits.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Takes the next callback whose records are durable, and its outcome.
    pub fn next_durable(&mut self) -> Option<(OnDurable, Result<(), LogError>)> {
        self.durable = self.durable.checked_sub(1)?;
        let on_durable = self.line.pop_front()?;
        let refused = self.refused.pop_front_if(|(place, _)| *place == self.left);
        self.left += 1;
        Some((on_durable, refused.map_or(Ok(()), |(_, error)| Err(error))))
    }

    /// Takes all remaining callbacks, after a failure that ends all writing.
    pub fn take_rest(&mut self) -> impl Iterator<Item = OnDurable> + use<> {
        self.line.split_off(self.durable).into_iter()
    }
}
