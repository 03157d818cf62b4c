//! How long to pause before a repeat.

use std::time::Duration;

/// Doubling pauses with jitter, so that many clients do not come back at once. The jitter is a function of the seed.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    random: u64,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max: max.max(min), random: seed | 1 }
    }

    /// The pause before repeat number `repeat`, from 1: a half to the whole of `min * 2^(repeat - 1)`, bounded.
    pub(crate) fn pause(&mut self, repeat: u32) -> Duration {
        let factor = 1_u32 << repeat.saturating_sub(1).min(16);
        let whole = self.min.saturating_mul(factor).min(self.max);
        let half = whole / 2;
        let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_nanos(self.draw() % spread)
    }

    /// Xorshift: Marsaglia, "Xorshift RNGs", 2003.
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum() {
        let (min, max) = (Duration::from_millis(5), Duration::from_millis(250));
        for seed in 0..50 {
            let mut backoff = Backoff::new(min, max, seed);
            for repeat in 1..40 {
                let whole = (min * (1 << (repeat - 1).min(10))).min(max);
                let pause = backoff.pause(repeat);
                assert!(pause >= whole / 2 && pause <= whole, "seed {seed}, repeat {repeat}: {pause:?} of {whole:?}");
            }
        }
    }
}
