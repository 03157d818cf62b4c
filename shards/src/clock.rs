//! A shard's hybrid logical clock.

use std::cell::Cell;
use std::marker::PhantomData;

use kahuna_protocol::Hlc;

use crate::env::Env;

/// The hybrid logical clock of one shard: distinct, rising stamps, never far from the wall clock.
///
/// Leases end by these stamps. A stamp that ran ahead of all true clocks would end them early, so no sender may push this
/// clock further than true clocks can differ.
#[derive(Debug)]
pub struct Clock<E> {
    last: Cell<Hlc>,
    /// How far ahead of the wall clock a foreign stamp may lie and still be adopted, in milliseconds.
    max_ahead_ms: u64,
    env: PhantomData<E>,
}

impl<E: Env> Clock<E> {
    /// A clock that starts at the wall clock, on a node whose wall clock may differ from others by `max_skew_ms`
    /// milliseconds.
    pub fn new(max_skew_ms: u32) -> Self {
        Self { last: Cell::new(Hlc::ZERO), max_ahead_ms: u64::from(max_skew_ms), env: PhantomData }
    }

    /// A stamp above every stamp that this clock gave or adopted.
    pub fn now(&self) -> Hlc {
        let stamp = Hlc::from_millis(self.wall_ms()).max(self.last.get().next());
        self.last.set(stamp);
        stamp
    }

    /// Adopts a stamp of a frame or of a machine. One too far ahead of the wall clock is left out: the clock that made it is
    /// wrong.
    pub fn observe(&self, stamp: Hlc) {
        if stamp.millis() <= self.wall_ms().saturating_add(self.max_ahead_ms) {
            self.last.set(self.last.get().max(stamp));
        }
    }

    /// The node's wall clock in Unix milliseconds.
    pub fn wall_ms(&self) -> u64 {
        E::wall_clock().as_millis()
    }
}
