//! One record of the store.

use std::rc::Rc;

use super::{Key, Lock, Sequence};

/// A record, behind a pointer: a shared map copies whole nodes, and must not copy values with them.
#[derive(Clone, Debug)]
pub enum Record {
    /// A key with its versions.
    Key(Rc<Key>),
    /// A lock.
    Lock(Rc<Lock>),
    /// A sequence.
    Sequence(Rc<Sequence>),
}

impl Record {
    /// The last millisecond of machine time in which the record is alive, or was; `None` for one without an end.
    pub fn end_ms(&self, skew_ms: u64) -> Option<u64> {
        match self {
            Self::Key(key) => key.newest().end_ms(skew_ms),
            Self::Lock(lock) => Some(lock.end_ms(skew_ms)),
            Self::Sequence(_) => None,
        }
    }
}

/// Whether a lease with this deadline has ended at `time_ms`: all three in Unix milliseconds, or differences of them.
pub fn is_past(deadline_ms: u64, skew_ms: u64, time_ms: u64) -> bool {
    time_ms > deadline_ms.saturating_add(skew_ms)
}
