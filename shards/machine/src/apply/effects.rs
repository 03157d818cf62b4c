//! What a batch brought about, for those who wait for it.

use kahuna_protocol::Position;

/// What to note of what a batch brings about. It is no part of the state: replicas may differ in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Changes of keys.
    pub keys: bool,
    /// Locks that were given back.
    pub locks: bool,
}

/// A key has a new version, or a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Position of the key in the partition's order.
    pub position: Position,
    /// The revision of what was written.
    pub revision: u64,
}

/// A lock was given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Position of the lock in the partition's order.
    pub position: Position,
    /// The token of the grant that ended.
    pub token: u64,
}

/// Effects of a batch, in the order of its commands, as far as a listener asked for them: see
/// [`Machine::set_interest`](crate::Machine::set_interest). Empty, it takes no memory of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Keys.
    pub changed: Vec<Changed>,
    /// Locks.
    pub released: Vec<Released>,
}

impl Effects {
    /// Whether there are no effects.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.released.is_empty()
    }
}
