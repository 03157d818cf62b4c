//! A link that this node dials: to one shard of another node.
//!
//! ```text
//!            a call                      welcome                  the connection ends
//!   Idle ──────────────> Open, queueing ──────────> Open, written ──────────────────> Idle
//!    ^  not before `retry_at`   │ refused, no answer, not the expected node
//!    └──────────────────────────┘ `retry_at` = now + 10 ms, doubled up to 500 ms
//! ```
//! A link is dialled only for a call: the groups' traffic and the node's heartbeat make enough of them. While a link may
//! not dial, calls fail at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::outgoing::Outgoing;

/// The wait after the first failure.
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// The longest wait between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// After a connection that was open for this long, the next attempt does not wait.
const GOOD_AFTER: Duration = Duration::from_secs(1);
/// If calls are unanswered for this long and no frame arrived, a probe is sent.
const PROBE_AFTER: Duration = Duration::from_secs(2);
/// If no frame arrives for this long after the probe, the link is closed.
const DEAD_AFTER: Duration = Duration::from_secs(3);

/// One attempt at a connection and, if it succeeds, the connection.
#[derive(Clone)]
pub(super) struct Connection {
    /// Unique on this shard, above 0.
    pub(super) serial: u64,
    pub(super) out: Rc<Outgoing>,
}

/// A link. It is [`Rc`]-shared by its node's table and the task of its connection.
#[derive(Default)]
pub(super) struct Link {
    open: RefCell<Option<Connection>>,
    retry_at: Cell<Duration>,
    pause: Cell<Duration>,
    /// Why the last connection ended.
    reason: RefCell<Option<Rc<str>>>,
    /// Since when calls are out without a sign from the other end.
    silent_since: Cell<Option<Duration>>,
    probed_at: Cell<Option<Duration>>,
}

/// What a link does with a call.
pub(super) enum Ready {
    /// Queue it here; with `probe`, a probe before it.
    Queue { connection: Connection, probe: bool },
    /// Dial, and queue it.
    Dial,
    /// Fail it.
    Down(Rc<str>),
}

impl Link {
    /// How to go on with a call at `now`.
    pub(super) fn ready(&self, now: Duration) -> Ready {
        let open = self.open.borrow().clone().filter(|connection| !connection.out.is_closed());
        let Some(connection) = open else {
            let reason = || self.reason.borrow().clone().unwrap_or_else(|| "the link is closed".into());
            return if now < self.retry_at.get() { Ready::Down(reason()) } else { Ready::Dial };
        };
        let since = self.silent_since.get().unwrap_or(now);
        self.silent_since.set(Some(since));
        match self.probed_at.get() {
            Some(probed_at) if now > probed_at + DEAD_AFTER => {
                connection.out.close();
                Ready::Down("nobody reads the link".into())
            }
            None if now > since + PROBE_AFTER => {
                self.probed_at.set(Some(now));
                Ready::Queue { connection, probe: true }
            }
            _ => Ready::Queue { connection, probe: false },
        }
    }

    /// Takes in a connection that is about to be dialled.
    pub(super) fn begin(&self, connection: Connection) {
        self.silent_since.set(None);
        self.probed_at.set(None);
        let before = self.open.replace(Some(connection));
        debug_assert!(before.is_none_or(|before| before.out.is_closed()), "one connection at a time");
    }

    /// Something came from the other end.
    pub(super) fn heard(&self) {
        self.silent_since.set(None);
        self.probed_at.set(None);
    }

    /// The connection `serial` has ended at `now`; it was open for `lived`, `None` if it never was.
    pub(super) fn ended(&self, serial: u64, now: Duration, lived: Option<Duration>, reason: Rc<str>) {
        let is_current = self.open.borrow().as_ref().is_some_and(|connection| connection.serial == serial);
        if !is_current {
            return;
        }
        self.open.take();
        let pause = match lived {
            Some(lived) if lived >= GOOD_AFTER => Duration::ZERO,
            _ => (self.pause.get() * 2).clamp(MIN_PAUSE, MAX_PAUSE),
        };
        // A connection that was open once may be dialled again at once, or a restarted node would wait for nothing.
        self.retry_at.set(if lived.is_some() { now + self.pause.get() } else { now + pause });
        self.pause.set(pause);
        self.reason.replace(Some(reason));
    }

    /// Closes the connection unless it is `current`, and forgets that attempts failed.
    pub(super) fn close_unless(&self, current: u64) {
        if let Some(connection) = self.open.borrow().as_ref().filter(|connection| connection.serial != current) {
            connection.out.close();
        }
        self.retry_now();
    }

    /// Forgets that attempts failed: the next call dials.
    pub(super) fn retry_now(&self) {
        self.retry_at.set(Duration::ZERO);
        self.pause.set(Duration::ZERO);
    }
}
