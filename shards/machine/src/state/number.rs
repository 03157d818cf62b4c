//! Tokens, revisions and incarnations: 48 bits that count below 16 bits of restore epoch.

const COUNTER_BITS: u32 = 48;

/// The highest numbers of records that are gone: a number minted for a fresh name starts above them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// Highest revision of a removed key.
    pub revision: u64,
    /// Highest fencing token of a removed lock.
    pub token: u64,
    /// Highest incarnation of a removed sequence.
    pub incarnation: u64,
}

/// `number` as it counts under `epoch`: its counter stays, and its epoch is raised if it is lower.
pub fn in_epoch(number: u64, epoch: u16) -> u64 {
    let base = u64::from(epoch) << COUNTER_BITS;
    if number >= base { number } else { base | (number & ((1 << COUNTER_BITS) - 1)) }
}

/// The number after `last` under `epoch`; always above `last`.
pub fn next_number(last: u64, epoch: u16) -> u64 {
    in_epoch(last, epoch).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_within_an_epoch_and_over_epochs() {
        assert_eq!(next_number(0, 0), 1);
        assert_eq!(next_number(41, 0), 42);
        assert_eq!(next_number(41, 1), (1 << 48) | 42);
        assert_eq!(next_number((1 << 48) | 42, 1), (1 << 48) | 43);
        // A lower epoch than the number's own never lowers it.
        assert_eq!(next_number((2 << 48) | 7, 1), (2 << 48) | 8);
    }
}
