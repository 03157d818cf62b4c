//! The low-water mark of a session: every number below it was answered.

use std::collections::VecDeque;

/// Numbers from 1, handed out in order, answered in any.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    /// The lowest number that may still be open.
    low: u64,
    /// Whether `low`, `low + 1`, ... were answered.
    answered: VecDeque<bool>,
}

impl Acknowledged {
    pub(crate) fn new() -> Self {
        Self { low: 1, answered: VecDeque::new() }
    }

    /// The next number.
    pub(crate) fn hand_out(&mut self) -> u64 {
        self.answered.push_back(false);
        self.low + self.answered.len() as u64 - 1
    }

    /// This number's answer came, or nobody waits for it any more.
    pub(crate) fn settle(&mut self, number: u64) {
        let at = usize::try_from(number - self.low).expect("few numbers are open");
        self.answered[at] = true;
        while self.answered.front() == Some(&true) {
            self.answered.pop_front();
            self.low += 1;
        }
    }

    /// The lowest number that is still open, or the next one.
    pub(crate) fn mark(&self) -> u64 {
        self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_passes_only_what_was_answered() {
        let mut session = Acknowledged::new();
        assert_eq!([session.hand_out(), session.hand_out(), session.hand_out()], [1, 2, 3]);
        session.settle(2);
        assert_eq!(session.mark(), 1);
        session.settle(1);
        assert_eq!(session.mark(), 3);
        session.settle(3);
        assert_eq!((session.mark(), session.hand_out()), (4, 4));
    }
}
