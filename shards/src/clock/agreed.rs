//! The clock that the nodes agree on, as all shards of one node have it.
//!
//! ```text
//!   host's wall clock ──once a second──▶ judgement on shard 0 ◀── the other nodes' clocks
//!                                            │ one atomic: agreed clock - boot clock
//!                                            ▼
//!                              every shard: boot clock + that
//! ```
//! Between two judgements it runs on the boot clock: neither a jump of the host's clock nor the silence of the other nodes
//! moves it.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::env::{Env, UnixNanos};

/// Nothing was judged yet. No clock is 292 years behind the boot clock.
const UNKNOWN: i64 = i64::MIN;
/// The lowest bit marks a sure judgement: a nanosecond does not matter.
const SURE: i64 = 1;

/// Result of a judgement of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// What the agreed clock is ahead of the boot clock, in nanoseconds.
    pub minus_boot: i64,
    /// A majority of the clocks received agrees. Of two clocks that differ it is unknown which is wrong.
    pub sure: bool,
}

impl Agreed {
    /// For a node without other nodes: its own wall clock.
    pub fn own<E: Env>() -> Self {
        Self { minus_boot: wall_minus_boot::<E>(), sure: true }
    }

    /// What it shows now.
    pub(super) fn now<E: Env>(self) -> UnixNanos {
        let boot = u64::try_from(E::boot_clock().as_nanos()).unwrap_or(u64::MAX);
        UnixNanos(boot.saturating_add_signed(self.minus_boot))
    }
}

/// What the node's own wall clock is ahead of the boot clock, in nanoseconds.
pub fn wall_minus_boot<E: Env>() -> i64 {
    minus_boot(E::wall_clock(), E::boot_clock())
}

/// What `wall` is ahead of the boot clock, which showed `boot` at that moment, in nanoseconds.
pub fn minus_boot(wall: UnixNanos, boot: std::time::Duration) -> i64 {
    wall.ahead_of(UnixNanos(0) + boot)
}

/// The last judgement, shared by the shards of a node: shard 0 writes it, all read it.
#[derive(Debug)]
pub struct AgreedClock(AtomicI64);

impl Default for AgreedClock {
    /// Nothing judged yet.
    fn default() -> Self {
        Self(AtomicI64::new(UNKNOWN))
    }
}

impl AgreedClock {
    /// Takes a judgement.
    pub fn set(&self, agreed: Agreed) {
        let bits = agreed.minus_boot.max(UNKNOWN + 2) & !SURE;
        self.0.store(bits | i64::from(agreed.sure), Ordering::Relaxed);
    }

    /// The last judgement; `None` before the first one.
    pub fn get(&self) -> Option<Agreed> {
        let bits = self.0.load(Ordering::Relaxed);
        (bits != UNKNOWN).then_some(Agreed { minus_boot: bits & !SURE, sure: bits & SURE != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judgement_comes_back_to_the_nanosecond_before() {
        let clock = AgreedClock::default();
        assert_eq!(clock.get(), None);
        for minus_boot in [0, 1_764_000_000_000_000_000, -4, i64::MIN, i64::MAX] {
            for sure in [false, true] {
                clock.set(Agreed { minus_boot, sure });
                let agreed = clock.get().expect("judged");
                assert_eq!(agreed.sure, sure);
                assert!((agreed.minus_boot.max(UNKNOWN + 2) - minus_boot.max(UNKNOWN + 2)).abs() <= 1, "{minus_boot}");
            }
        }
    }
}
