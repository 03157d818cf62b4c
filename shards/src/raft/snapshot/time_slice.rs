//! Long work in short scheduling slices.

use std::marker::PhantomData;
use std::time::Duration;

use crate::env::Env;

/// How long work goes on without letting others run, when its steps are short beside it. A yield costs a look at the
/// kernel's completions, so that one after every step would cost more than the steps.
const LIMIT: Duration = Duration::from_micros(100);

/// The scheduling slice of one task.
pub struct TimeSlice<E> {
    began: Duration,
    env: PhantomData<E>,
}

impl<E: Env> TimeSlice<E> {
    /// Begins now.
    pub fn begin() -> Self {
        Self { began: E::boot_clock(), env: PhantomData }
    }

    /// Whether this one ran for long enough.
    pub fn is_over(&self) -> bool {
        E::boot_clock().saturating_sub(self.began) >= LIMIT
    }

    /// Between two steps: lets the shard's other tasks run if this one ran for long enough.
    pub async fn step(&mut self) {
        if self.is_over() {
            E::yield_now().await;
            self.began = E::boot_clock();
        }
    }
}
