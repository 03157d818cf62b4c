//! The hybrid logical clock's stamp.

use std::fmt;

/// A hybrid logical clock stamp: 48 bits of Unix milliseconds above 16 bits of counter, ordered as one integer.
///
/// A carry out of the counter goes into the milliseconds, so that the next stamp always exists.
/// Source: Kulkarni et al., "Logical Physical Clocks", 2014.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

impl Hlc {
    /// Before everything.
    pub const ZERO: Self = Self(0);
    const COUNTER_BITS: u32 = 16;

    /// The first stamp of a Unix millisecond. Milliseconds beyond 48 bits saturate.
    pub fn from_millis(unix_ms: u64) -> Self {
        Self(unix_ms.min((1 << 48) - 1) << Self::COUNTER_BITS)
    }

    /// The Unix milliseconds of this stamp, rounded down.
    pub fn millis(self) -> u64 {
        self.0 >> Self::COUNTER_BITS
    }

    /// The stamp right after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.millis(), self.0 & ((1 << Self::COUNTER_BITS) - 1))
    }
}
