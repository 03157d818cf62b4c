//! A shard's hybrid logical clock, over the clock that the nodes agree on.

mod agreed;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Poll, Waker};

use kahuna_protocol::Hlc;

pub use agreed::{Agreed, AgreedClock, minus_boot, wall_minus_boot};

use crate::env::{Env, UnixNanos};

/// The hybrid logical clock of one shard: distinct, rising stamps, never far from the clock that the nodes agree on.
///
/// Leases end by these stamps. A stamp that ran ahead of all true clocks would end them early, so no sender may push this
/// clock further than true clocks can differ, and the node's own wall clock counts no more than any other.
#[derive(Debug)]
pub struct Clock<E> {
    last: Cell<Hlc>,
    /// The highest stamp of a frame that came before the clocks were judged.
    heard: Cell<Hlc>,
    /// How far ahead of the agreed clock a foreign stamp may lie and still be adopted, in milliseconds.
    max_ahead_ms: u64,
    agreed: Arc<AgreedClock>,
    /// Tasks that wait for the first judgement, or for a call of `notify`.
    waiting: RefCell<Vec<Waker>>,
    env: PhantomData<E>,
}

impl<E: Env> Clock<E> {
    /// The clock of a node without other nodes: it starts at the wall clock, which may differ from the clients' by
    /// `max_skew_ms` milliseconds.
    pub fn new(max_skew_ms: u32) -> Self {
        let agreed = AgreedClock::default();
        agreed.set(Agreed::own::<E>());
        Self::agreeing(max_skew_ms, Arc::new(agreed))
    }

    /// A clock that follows `agreed`, on a node whose wall clock may differ from others by `max_skew_ms` milliseconds.
    pub fn agreeing(max_skew_ms: u32, agreed: Arc<AgreedClock>) -> Self {
        Self {
            last: Cell::new(Hlc::ZERO),
            heard: Cell::new(Hlc::ZERO),
            max_ahead_ms: u64::from(max_skew_ms),
            agreed,
            waiting: RefCell::default(),
            env: PhantomData,
        }
    }

    /// A stamp above every stamp that this clock gave or adopted, for a batch or a frame; only where a judgement showed that
    /// the clock had run ahead does it go back. Before the clocks were judged it is [`Hlc::ZERO`], which no clock adopts.
    pub fn stamp(&self) -> Hlc {
        let Some(agreed) = self.agreed() else { return Hlc::ZERO };
        self.observe(self.heard.take());
        let clock = Hlc::from_millis(agreed.as_millis());
        let last = Some(self.last.get()).filter(|last| self.is_near(*last, agreed));
        let stamp = last.map_or(clock, |last| clock.max(last.next()));
        self.last.set(stamp);
        stamp
    }

    /// Adopts a stamp of a frame. One too far ahead of the agreed clock is left out: the clock that made it is wrong.
    /// Before the first judgement this cannot be decided: the stamp is kept until then.
    pub fn observe(&self, stamp: Hlc) {
        match self.agreed() {
            Some(agreed) if self.is_near(stamp, agreed) => self.last.set(self.last.get().max(stamp)),
            Some(_) => {}
            None => self.heard.set(self.heard.get().max(stamp)),
        }
    }

    /// Adopts a machine's time, within the same bound. Before the first judgement the log may be older than any clock.
    pub fn observe_machine(&self, time: Hlc) {
        if self.is_judged() {
            self.observe(time);
        }
    }

    fn is_near(&self, stamp: Hlc, agreed: UnixNanos) -> bool {
        stamp.millis() <= agreed.as_millis().saturating_add(self.max_ahead_ms)
    }

    /// How far ahead of the agreed clock a foreign stamp may lie and still be adopted, in milliseconds.
    pub fn max_ahead_ms(&self) -> u64 {
        self.max_ahead_ms
    }

    /// The agreed clock; `None` before the clocks were judged.
    pub fn agreed(&self) -> Option<UnixNanos> {
        self.agreed.get().map(Agreed::now::<E>)
    }

    /// Whether the agreed clock is that of a majority of those heard.
    pub fn is_sure(&self) -> bool {
        self.agreed.get().is_some_and(|agreed| agreed.sure)
    }

    /// Whether the clocks were judged.
    pub fn is_judged(&self) -> bool {
        self.agreed.get().is_some()
    }

    /// Takes a judgement, for all shards of the node. Theirs are to be [notified](Self::notify) of the first one.
    pub(crate) fn judge(&self, agreed: Agreed) {
        self.agreed.set(agreed);
    }

    /// Returns once `done` is true. It is called now and at every [`notify`](Self::notify).
    pub(crate) async fn wait_until(&self, done: impl Fn() -> bool) {
        poll_fn(|cx| {
            if done() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Wakes the waiting tasks to check again: the clocks were judged, or the wait has ended for another reason.
    pub(crate) fn notify(&self) {
        let waiting = self.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::Linux;

    const SECOND: i64 = 1_000_000_000;

    fn ahead_ms(stamp: Hlc) -> i64 {
        stamp.millis() as i64 - Linux::wall_clock().as_millis() as i64
    }

    fn clock() -> (Clock<Linux>, i64) {
        (Clock::agreeing(250, Arc::default()), wall_minus_boot::<Linux>())
    }

    #[test]
    fn what_came_before_the_judgement_does_not_move_the_clock_beyond_it() {
        let (clock, wall) = clock();
        clock.observe(Hlc::from_millis(Linux::wall_clock().as_millis() + 60_000));
        clock.observe_machine(Hlc::from_millis(Linux::wall_clock().as_millis()));
        assert_eq!(clock.stamp(), Hlc::ZERO, "a frame says nothing yet");
        clock.judge(Agreed { minus_boot: wall - 120 * SECOND, sure: true });
        assert!((-130_000..=-119_000).contains(&ahead_ms(clock.stamp())), "the host's clock is two minutes ahead");
    }

    #[test]
    fn stamps_within_the_skew_are_adopted_late_as_well() {
        let (clock, wall) = clock();
        let near = Hlc::from_millis(Linux::wall_clock().as_millis() + 200);
        clock.observe(near);
        clock.judge(Agreed { minus_boot: wall, sure: true });
        assert!(clock.stamp() > near);
    }

    #[test]
    fn stamps_rise_until_a_judgement_shows_that_they_ran_ahead() {
        let (clock, wall) = clock();
        clock.judge(Agreed { minus_boot: wall + 60 * SECOND, sure: false });
        let first = clock.stamp();
        assert!(clock.stamp() > first);
        clock.judge(Agreed { minus_boot: wall, sure: true });
        assert!(ahead_ms(clock.stamp()) < 10_000);
    }
}
