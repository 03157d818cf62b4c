//! The tasks that empty a queue: few, and one more only once the last one has begun.

use std::cell::Cell;

/// Counts the tasks of one queue.
pub(super) struct Workers {
    most: u32,
    running: Cell<u32>,
    /// A task was started and has not looked at the queue yet: it will take what is put there now.
    is_starting: Cell<bool>,
}

impl Workers {
    /// None yet, and never more than `most`.
    pub(super) fn new(most: u32) -> Self {
        Self { most, running: Cell::new(0), is_starting: Cell::new(false) }
    }

    /// Counts one more task. False if there are enough, or if one that was started has not looked at the queue yet.
    pub(super) fn add(&self) -> bool {
        let is_added = self.running.get() < self.most && !self.is_starting.replace(true);
        self.running.set(self.running.get() + u32::from(is_added));
        is_added
    }

    /// A task that was added looks at the queue now.
    pub(super) fn started(&self) {
        self.is_starting.set(false);
    }

    /// A task found the queue empty and ends.
    pub(super) fn ended(&self) {
        self.running.set(self.running.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_starts_at_a_time_and_no_more_than_allowed_run() {
        let workers = Workers::new(2);
        assert!(workers.add());
        assert!(!workers.add(), "the first has not looked yet");
        workers.started();
        assert!(workers.add());
        workers.started();
        assert!(!workers.add(), "two run");
        workers.ended();
        assert!(workers.add());
    }
}
