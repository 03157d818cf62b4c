//! Which followers' disks are full, by their last answers.

use std::cell::RefCell;
use std::collections::BTreeSet;

/// Every answer to an append carries the state of the follower's disk, heartbeats included. A follower whose log waits for
/// room does not answer: its last answer stays here, and it is missing from the quorum anyway.
#[derive(Debug, Default)]
pub struct FullDisks(RefCell<BTreeSet<u64>>);

impl FullDisks {
    /// Replica `replica` has answered.
    pub fn note(&self, replica: u64, is_full: bool) {
        if is_full {
            self.0.borrow_mut().insert(replica);
        } else if !self.is_empty() {
            self.0.borrow_mut().remove(&replica);
        }
    }

    /// Whether no disk is known to be full.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Whether the disk of `replica` is full.
    pub fn contains(&self, replica: u64) -> bool {
        self.0.borrow().contains(&replica)
    }
}
