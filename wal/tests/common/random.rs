//! Seeded randomness.

use rand::{Rng as _, RngExt, SeedableRng, rngs::SmallRng};

/// A small seeded generator. A test prints its seed when it fails, because `Rng::new` says it on stdout.
pub struct Rng(SmallRng);

impl Rng {
    pub fn new(seed: u64) -> Self {
        println!("seed {seed:#x}");
        Self::quiet(seed)
    }

    /// One whose seed the test itself says when it fails.
    pub fn quiet(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.random_range(0..bound)
    }
}
