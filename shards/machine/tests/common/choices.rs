//! Reproducible choices.

use rand::{Rng as _, RngExt, SeedableRng, rngs::SmallRng};

/// A small generator of reproducible choices.
#[derive(Clone)]
pub struct Choices(SmallRng);

impl Choices {
    pub fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    pub fn draw(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.random_range(0..bound)
    }

    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}
