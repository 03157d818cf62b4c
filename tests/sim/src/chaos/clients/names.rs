//! What things are called.

/// How long names are used before others take their place, in nanoseconds.
const EPOCH_NS: u64 = 20_000_000_000;
/// Keys of a group at one time.
pub(super) const KEYS: u64 = 5;
/// Locks of a group at one time.
pub(super) const LOCKS: u64 = 2;

/// A group of names at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub group: u64,
    pub epoch: u64,
}

impl Names {
    pub(super) fn at(group: u64, now_ns: u64) -> Self {
        Self { group, epoch: now_ns / EPOCH_NS }
    }

    /// All that were used until now.
    pub(super) fn until(groups: u64, now_ns: u64) -> impl Iterator<Item = Self> {
        (0..groups).flat_map(move |group| (0..=now_ns / EPOCH_NS).map(move |epoch| Self { group, epoch }))
    }

    pub(super) fn key(self, number: u64) -> String {
        format!("key-{}-{}-{number}", self.group, self.epoch)
    }

    pub(super) fn lock(self, number: u64) -> String {
        format!("lock-{}-{}-{number}", self.group, self.epoch)
    }
}

/// What a group draws from.
pub(super) fn sequence(group: u64) -> String {
    format!("sequence-{group}")
}

/// What only requests that are sent twice draw from.
pub(super) fn twice(group: u64) -> String {
    format!("sequence-{group}-twice")
}
