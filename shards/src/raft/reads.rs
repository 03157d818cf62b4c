//! How many reads of a replica wait for openraft.

use std::cell::Cell;
use std::rc::Rc;

/// Reads that wait for a majority to confirm this leader, or for what it committed to be applied.
#[derive(Clone, Debug, Default)]
pub struct Reads(Rc<Cell<u32>>);

impl Reads {
    /// One more, until what is returned is dropped.
    pub fn one(&self) -> OneRead {
        self.0.set(self.0.get() + 1);
        OneRead(self.clone())
    }

    /// Whether one waits.
    pub fn wait(&self) -> bool {
        self.0.get() > 0
    }
}

/// A read that waits.
pub struct OneRead(Reads);

impl Drop for OneRead {
    fn drop(&mut self) {
        let Reads(count) = &self.0;
        count.set(count.get() - 1);
    }
}
