//! The session: numbers for writes, and the mark below which all of them were answered.

use std::collections::BTreeSet;

use kahuna_protocol::SessionId;

/// One client session. Numbers start at 1 and rise; each is open until its request has ended.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    next: u64,
    open: BTreeSet<u64>,
}

impl Session {
    pub(crate) fn new(id: SessionId) -> Self {
        assert!(id.0 != 0, "session 0 means none");
        Self { id, next: 1, open: BTreeSet::new() }
    }

    /// The next number, open from now on.
    pub(crate) fn take(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.open.insert(number);
        number
    }

    /// The request under `number` has ended and will never be sent again.
    pub(crate) fn close(&mut self, number: u64) {
        let was_open = self.open.remove(&number);
        debug_assert!(was_open, "a number closes once");
    }

    /// Every request below this number has ended. It rises past a number only when all before it have closed: a
    /// server that forgot the record of a number still open would apply its repeat a second time, or refuse it.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.open.first().copied().unwrap_or(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_rises_in_order_only() {
        let mut session = Session::new(SessionId(9));
        assert_eq!(session.acknowledged(), 1);
        let numbers = [session.take(), session.take(), session.take()];
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(session.acknowledged(), 1);
        session.close(2);
        assert_eq!(session.acknowledged(), 1);
        session.close(1);
        assert_eq!(session.acknowledged(), 3);
        session.close(3);
        assert_eq!(session.acknowledged(), 4);
        assert_eq!(session.take(), 4);
        assert_eq!(session.acknowledged(), 4);
    }
}
