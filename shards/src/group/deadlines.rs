//! The one timer of a group: it sleeps until the earliest deadline of the waiting requests.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::env::Env;

/// Holds requests that wait, each with a deadline.
pub(super) trait Waits {
    /// The timer for them.
    fn timer(&self) -> &Timer;

    /// Ends every wait whose deadline passed, and gives the earliest deadline of the others.
    fn end_waits(&self, now: Duration) -> Option<Duration>;
}

/// The deadline that the timer sleeps for; `Duration::MAX` when nothing waits.
pub(super) struct Timer(Cell<Duration>);

impl Timer {
    pub(super) fn new() -> Self {
        Self(Cell::new(Duration::MAX))
    }
}

/// Makes sure that the timer looks at `deadline`. Requests of one kind tend to have one timeout, so the timer is rarely
/// set anew: most requests are answered long before it looks.
pub(super) fn arm<E: Env>(waits: &Rc<impl Waits + 'static>, deadline: Duration) {
    let timer = waits.timer();
    if deadline < timer.0.get() {
        timer.0.set(deadline);
        E::spawn(sleep_until::<E>(waits.clone(), deadline));
    }
}

async fn sleep_until<E: Env>(waits: Rc<impl Waits + 'static>, deadline: Duration) {
    E::sleep(deadline.saturating_sub(E::boot_clock())).await;
    // Another timer may have been set for an earlier deadline; the sleep for that one takes over.
    if waits.timer().0.get() == deadline {
        waits.timer().0.set(Duration::MAX);
        if let Some(next) = waits.end_waits(E::boot_clock()) {
            arm::<E>(&waits, next);
        }
    }
}
