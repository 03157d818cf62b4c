//! Waiting for the load to get on, instead of for time to pass.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::nodes::PATIENCE;

/// Counts what was acknowledged.
#[derive(Debug, Default)]
pub struct Progress {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Progress {
    pub fn add(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// Returns once `more` have been counted from now on; panics when that takes absurdly long.
    pub fn wait_for(&self, more: u64) {
        let started = Instant::now();
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let goal = *count + more;
        while *count < goal {
            let left = PATIENCE.checked_sub(started.elapsed());
            let left = left.unwrap_or_else(|| panic!("only {count} of {goal} requests were acknowledged"));
            count = self.changed.wait_timeout(count, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
