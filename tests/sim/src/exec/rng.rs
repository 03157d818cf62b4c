//! Seeded randomness: one stream per purpose, so that a draw for one does not shift the others.

use std::{cell::Cell, convert::Infallible, rc::Rc};

use rand::TryRng;

/// Odd constant of the generator (SplitMix64): the fractional part of the golden ratio.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Scrambles all bits of `x`; a bijection.
pub(crate) const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A stream of seeded random numbers. Clones draw from the same stream.
#[derive(Debug, Clone)]
pub struct SimRng(Rc<Cell<u64>>);

impl SimRng {
    /// The stream number `stream` of `seed`.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(Rc::new(Cell::new(mix(mix(seed.wrapping_add(GAMMA)) ^ stream))))
    }

    /// The next 64 bits.
    pub fn draw(&self) -> u64 {
        let state = self.0.get().wrapping_add(GAMMA);
        self.0.set(state);
        mix(state)
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        // The high half of the product: unbiased enough for any bound that occurs here.
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `from..=to`.
    pub fn between(&self, from: u64, to: u64) -> u64 {
        from + self.below((to - from).saturating_add(1))
    }
}

impl TryRng for SimRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.draw() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.draw())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
