//! Messages that nobody waits for.
//!
//! openraft sends its core a message for all that becomes done, and each wakes the core, which costs more than most messages are
//! worth. Who knows that nobody waits for the ones that follow says so: they are queued like all others, and handled with the
//! next that does wake the receiver.

use std::cell::Cell;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// From here to the end of this poll of the running task its messages over a bounded channel wake no receiver, or up to
/// [`speak_up`]. A receiver that lets many of them gather is woken nevertheless.
pub fn keep_quiet() {
    QUIET.set(true);
}

/// From here on messages wake their receivers again.
pub fn speak_up() {
    QUIET.set(false);
}

/// Whether the running task keeps quiet.
pub(super) fn is_quiet() -> bool {
    QUIET.get()
}

/// Polls a task. It begins to speak as all do; whoever polls it, as one task that runs inside another may be, goes on as
/// before. Every executor polls its tasks through this.
pub fn polled<T>(poll: impl FnOnce() -> T) -> T {
    let _before = Before(QUIET.replace(false));
    poll()
}

struct Before(bool);

impl Drop for Before {
    fn drop(&mut self) {
        QUIET.set(self.0);
    }
}
