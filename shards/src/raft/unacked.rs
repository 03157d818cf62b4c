//! Appends that were not acknowledged yet, and the acknowledgements that would extend the lease too far.
//!
//! openraft takes an answer for one to everything that it gave up to the same log id, and counts lease and reads from the
//! moment at which it gave the last of that. A request without entries ends where the one before it does: from then on the
//! answer to the earlier one would confirm a leader at a moment at which the follower was not asked. The lease allows for
//! [`Timing::lease_margin`](crate::config::Timing::lease_margin) of that; an answer that would be off by more is left out,
//! because the answer to the later request says the same and comes too.

use std::collections::VecDeque;
use std::time::Duration;

use crate::raft::types::LogId;

/// One append without its answer. Times are since boot.
pub struct UnackedAppend<A> {
    /// The entry before its first one.
    pub previous: Option<LogId>,
    /// Its last entry, or `previous`.
    pub last: Option<LogId>,
    /// The commit that the append carried.
    pub committed: Option<LogId>,
    pub bytes: usize,
    /// The answer to come.
    pub answer: A,
    sent: Duration,
    /// What an answer is counted from.
    counted: Duration,
}

/// All appends without an answer, oldest first.
pub struct UnackedAppends<A> {
    appends: VecDeque<UnackedAppend<A>>,
    bytes: usize,
    margin: Duration,
}

impl<A> UnackedAppends<A> {
    /// An empty one, for a lease that allows for `margin`.
    pub fn new(margin: Duration) -> Self {
        Self { appends: VecDeque::new(), bytes: 0, margin }
    }

    /// openraft has given a request that ends with `last`.
    pub fn given(&mut self, last: Option<LogId>, now: Duration) {
        let same_answer = self.appends.iter_mut().rev().take_while(|append| append.last >= last);
        same_answer.for_each(|append| append.counted = now);
    }

    /// An append was sent: the entries behind the first of `range` up to the second.
    pub fn push(
        &mut self,
        range: (Option<LogId>, Option<LogId>),
        committed: Option<LogId>,
        bytes: usize,
        answer: A,
        now: Duration,
    ) {
        let (previous, last) = range;
        self.bytes += bytes;
        self.appends.push_back(UnackedAppend { previous, last, committed, bytes, answer, sent: now, counted: now });
    }

    pub fn oldest(&mut self) -> Option<&mut UnackedAppend<A>> {
        self.appends.front_mut()
    }

    /// Takes the oldest, which was answered.
    pub fn pop(&mut self) -> Option<UnackedAppend<A>> {
        let append = self.appends.pop_front()?;
        self.bytes -= append.bytes;
        Some(append)
    }

    /// Whether the answer to `append` would be counted from a moment too long after it was sent.
    pub fn is_counted_too_late(&self, append: &UnackedAppend<A>) -> bool {
        append.counted.saturating_sub(append.sent) > self.margin
    }

    /// Gives all of them up.
    pub fn clear(&mut self) {
        self.appends.clear();
        self.bytes = 0;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.appends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::log_id;
    use super::*;

    const MARGIN: Duration = Duration::from_millis(50);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn id(index: u64) -> Option<LogId> {
        Some(log_id(1, index))
    }

    /// Answers the oldest: the last entry, and whether that would be counted too late.
    fn answered(line: &mut UnackedAppends<()>) -> (Option<LogId>, bool) {
        let append = line.pop().expect("one is there");
        (append.last, line.is_counted_too_late(&append))
    }

    #[test]
    fn an_answer_does_not_stand_for_a_later_request_that_ends_at_the_same_entry() {
        let mut line = UnackedAppends::new(MARGIN);
        line.push((id(3), id(4)), None, 100, (), ms(0));
        line.push((id(4), id(5)), None, 100, (), ms(10));
        // The commit of an entry before: within the margin of the second, and none of the first one's business.
        line.given(id(5), ms(60));
        line.push((id(5), id(5)), None, 10, (), ms(65));
        assert_eq!((answered(&mut line), answered(&mut line)), ((id(4), false), (id(5), false)));
        line.push((id(5), id(6)), None, 100, (), ms(70));
        line.given(id(6), ms(121));
        line.push((id(6), id(6)), None, 10, (), ms(126));
        assert_eq!((answered(&mut line), answered(&mut line)), ((id(5), false), (id(6), true)));
        // The later one was asked later, so its answer says what it is counted for, until another one is given.
        line.given(id(6), ms(130));
        line.given(id(7), ms(900));
        assert_eq!((answered(&mut line), line.len(), line.bytes()), ((id(6), false), 0, 0));
    }

    #[test]
    fn all_that_end_at_the_same_entry_are_counted_from_the_last_of_them() {
        let mut line = UnackedAppends::new(MARGIN);
        line.push((None, id(0)), None, 100, (), ms(0));
        line.push((id(0), id(0)), None, 10, (), ms(40));
        line.given(id(0), ms(80));
        assert_eq!((answered(&mut line), answered(&mut line)), ((id(0), true), (id(0), false)));
    }
}
