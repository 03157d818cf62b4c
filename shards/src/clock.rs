//! A shard's hybrid logical clock.

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::Duration;

use kahuna_protocol::Hlc;

use crate::env::Env;

/// How far ahead of the wall clock a foreign stamp may lie and still be adopted.
const MAX_AHEAD: Duration = Duration::from_secs(10);

/// The hybrid logical clock of one shard: distinct, rising stamps, never far from the wall clock.
#[derive(Debug)]
pub struct Clock<E> {
    last: Cell<Hlc>,
    env: PhantomData<E>,
}

impl<E: Env> Clock<E> {
    /// A clock that starts at the wall clock.
    #[expect(clippy::new_without_default, reason = "a clock has no neutral value")]
    pub fn new() -> Self {
        Self { last: Cell::new(Hlc::ZERO), env: PhantomData }
    }

    /// A stamp above every stamp that this clock gave or adopted.
    pub fn now(&self) -> Hlc {
        let stamp = Hlc::from_millis(self.wall_ms()).max(self.last.get().next());
        self.last.set(stamp);
        stamp
    }

    /// Adopts the stamp of a frame. One too far ahead of the wall clock is left out: its sender's clock is wrong.
    pub fn observe(&self, stamp: Hlc) {
        let limit = self.wall_ms() + u64::try_from(MAX_AHEAD.as_millis()).expect("a short constant");
        if stamp.millis() <= limit {
            self.last.set(self.last.get().max(stamp));
        }
    }

    /// The node's wall clock in Unix milliseconds.
    pub fn wall_ms(&self) -> u64 {
        E::wall_clock().as_millis()
    }
}
