//! Keys with a time to live: "no expired record is ever returned, and none comes back", and none ends before its time.
//!
//! ```text
//!   begun    ended                  begun + ttl + skew - 2 error          ended + ttl + skew + 2 error + late
//!   ├─ write ──┤          lives               ┤        either        ├              is over
//! ```
//! Each key has one writer, which does one thing after the other; anybody reads. A deadline is minted from some node's clock
//! between the begin and the end of its write, a key ends when machine time is past it by the allowed skew, and both clocks
//! are off true time by an error at most.

use std::time::Duration;

/// How well clocks can be trusted.
#[derive(Debug, Clone, Copy)]
pub struct ClockBounds {
    /// How far a clock may be off true time.
    pub error: Duration,
    /// How long past its deadline a key lives (`max_clock_skew_ms`); twice the error or more.
    pub skew: Duration,
    /// How much later it may end: a clock that was set back, or time that stood still until somebody led.
    pub late: Duration,
}

/// What a write leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The value; none if the key was removed.
    pub value: Option<String>,
    /// How long it lives; for ever if absent.
    pub ttl: Option<Duration>,
}

#[derive(Debug)]
struct Write {
    begun: Duration,
    /// None if nobody knows whether it took effect, or when. Nothing is written behind it.
    ended: Option<Duration>,
    left: Left,
}

#[derive(Debug)]
struct Read {
    begun: Duration,
    ended: Duration,
    seen: Option<String>,
    /// Only so many writes can be what it saw.
    writes: usize,
}

/// One key, from its first write on.
#[derive(Debug, Default)]
pub struct KeyLife {
    writes: Vec<Write>,
    reads: Vec<Read>,
}

impl KeyLife {
    /// The writer begins something; it ends with [`ended`](Self::ended), or nobody knows.
    pub fn begins(&mut self, at: Duration, left: Left) {
        self.writes.push(Write { begun: at, ended: None, left });
    }

    /// What the writer began last was done.
    pub fn ended(&mut self, at: Duration) {
        if let Some(last) = self.writes.last_mut() {
            last.ended = Some(at);
        }
    }

    /// What the writer began last was not done and never will be.
    pub fn failed(&mut self) {
        self.writes.pop();
    }

    /// Somebody saw the key.
    pub fn read(&mut self, begun: Duration, ended: Duration, seen: Option<String>) {
        self.reads.push(Read { begun, ended, seen, writes: usize::MAX });
    }

    /// What the writer began last depended on what was there: it has seen that.
    pub fn saw(&mut self, begun: Duration, ended: Duration, seen: Option<String>) {
        self.reads.push(Read { begun, ended, seen, writes: self.writes.len().saturating_sub(1) });
    }

    /// The value that the writer left last.
    pub fn value(&self) -> Option<String> {
        self.writes.last().and_then(|last| last.left.value.clone())
    }

    /// Reads that found nothing, where a value had been left.
    pub fn ends_seen(&self) -> u64 {
        let was_there = |read: &Read| {
            let began = self.writes.first().is_some_and(|first| first.ended.is_some_and(|ended| ended <= read.begun));
            began && self.possible(read).all(|write| write.left.value.is_some())
        };
        self.reads.iter().filter(|read| read.seen.is_none() && was_there(read)).count() as u64
    }

    /// The reads that cannot be.
    pub fn breaches(&self, clocks: ClockBounds) -> Vec<String> {
        let unexplained = self.reads.iter().filter(|read| !self.is_explained(read, clocks)).map(|read| {
            let near: Vec<&Write> = self.possible(read).collect();
            format!("{read:?} is explained by none of {near:?}")
        });
        let back = self.reads.iter().filter_map(|read| {
            let dead = self.reads.iter().find(|dead| self.comes_back(dead, read))?;
            Some(format!("{read:?} saw what {dead:?} had found ended"))
        });
        unexplained.chain(back).collect()
    }

    /// The writes that a read may have seen the effect of, the latest that it must have seen first. The key's beginning is
    /// none of them.
    fn possible(&self, read: &Read) -> impl Iterator<Item = &Write> {
        let writes = &self.writes[..read.writes.min(self.writes.len())];
        let surely = writes.iter().rposition(|write| write.ended.is_some_and(|ended| ended <= read.begun));
        writes[surely.unwrap_or(0)..].iter().filter(move |write| write.begun <= read.ended)
    }

    fn is_explained(&self, read: &Read, clocks: ClockBounds) -> bool {
        let writes = &self.writes[..read.writes.min(self.writes.len())];
        let was_absent = writes.iter().all(|write| write.ended.is_none_or(|ended| ended > read.begun));
        match &read.seen {
            None => was_absent || self.possible(read).any(|write| may_be_over(write, read.ended, clocks)),
            Some(value) => self
                .possible(read)
                .any(|write| write.left.value.as_ref() == Some(value) && may_live(write, read.begun, clocks)),
        }
    }

    /// Whether `later` sees a value that was there already when `dead` found none.
    fn comes_back(&self, dead: &Read, later: &Read) -> bool {
        let before = |write: &Write| write.ended.is_some_and(|ended| ended <= dead.begun);
        dead.seen.is_none()
            && later.seen.is_some()
            && dead.ended <= later.begun
            && self.possible(later).filter(|write| write.left.value == later.seen).all(before)
            && self.possible(dead).all(before)
    }
}

/// Whether what was written may be gone at `now`.
fn may_be_over(write: &Write, now: Duration, clocks: ClockBounds) -> bool {
    let ttl = match &write.left {
        Left { value: None, .. } => return true,
        Left { ttl: None, .. } => return false,
        Left { ttl: Some(ttl), .. } => *ttl,
    };
    now + 2 * clocks.error >= write.begun + ttl + clocks.skew
}

/// Whether what was written may still be there at `now`.
fn may_live(write: &Write, now: Duration, clocks: ClockBounds) -> bool {
    match (write.ended, write.left.ttl) {
        (Some(ended), Some(ttl)) => now <= ended + ttl + clocks.skew + 2 * clocks.error + clocks.late,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCKS: ClockBounds =
        ClockBounds { error: Duration::from_millis(10), skew: Duration::from_millis(30), late: Duration::ZERO };

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn lives(value: &str, ttl: Option<u64>) -> Left {
        Left { value: Some(value.into()), ttl: ttl.map(at) }
    }

    /// A key that `a` was written to between 100 and 110, to live for 50.
    fn life() -> KeyLife {
        let mut life = KeyLife::default();
        life.begins(at(100), lives("a", Some(50)));
        life.ended(at(110));
        life
    }

    fn reads(mut life: KeyLife, reads: &[(u64, u64, Option<&str>)]) -> usize {
        reads.iter().for_each(|(begun, ended, seen)| life.read(at(*begun), at(*ended), seen.map(str::to_owned)));
        life.breaches(CLOCKS).len()
    }

    #[test]
    fn a_key_is_there_for_its_time_and_then_no_more() {
        assert_eq!(reads(life(), &[(50, 60, None), (90, 105, None), (105, 120, Some("a")), (150, 151, Some("a"))]), 0);
        assert_eq!(reads(life(), &[(150, 160, None)]), 0, "by the earliest clock it has ended");
        assert_eq!(reads(life(), &[(210, 230, Some("a"))]), 0, "by the latest clock it lives");
        assert_eq!(reads(life(), &[(211, 230, None)]), 0);
    }

    #[test]
    fn a_key_that_is_read_after_its_end_is_found() {
        assert_eq!(reads(life(), &[(211, 230, Some("a"))]), 1);
    }

    #[test]
    fn a_key_may_end_late_where_clocks_are_set_back() {
        let late = ClockBounds { late: at(19), ..CLOCKS };
        let mut life = life();
        life.read(at(229), at(230), Some("a".into()));
        life.read(at(230), at(231), Some("a".into()));
        assert_eq!(life.breaches(late).len(), 1);
        life.read(at(120), at(130), None);
        assert_eq!(life.breaches(late).len(), 4, "not early, and what had ended does not come back");
    }

    #[test]
    fn a_key_that_is_lost_before_its_end_is_found() {
        assert_eq!(reads(life(), &[(120, 130, None)]), 1);
        let mut for_ever = KeyLife::default();
        for_ever.begins(at(100), lives("a", None));
        for_ever.ended(at(110));
        assert_eq!(reads(for_ever, &[(9_000, 9_001, None)]), 1);
    }

    #[test]
    fn a_key_that_comes_back_is_found() {
        assert_eq!(reads(life(), &[(160, 161, None), (170, 171, Some("a"))]), 1);
        let mut again = life();
        again.begins(at(165), lives("a", Some(50)));
        again.ended(at(169));
        assert_eq!(reads(again, &[(160, 161, None), (170, 171, Some("a"))]), 0, "it was written again");
    }

    #[test]
    fn a_value_that_was_not_there_is_found() {
        assert_eq!(reads(life(), &[(120, 130, Some("b"))]), 1);
        assert_eq!(reads(life(), &[(50, 60, Some("a"))]), 1, "before it was written");
    }

    #[test]
    fn the_last_write_counts() {
        let mut life = life();
        life.begins(at(120), lives("b", None));
        life.ended(at(130));
        assert_eq!(
            reads(life, &[(125, 128, Some("a")), (125, 128, Some("b")), (131, 132, Some("a")), (131, 132, None)]),
            2
        );
    }

    #[test]
    fn what_nobody_knows_may_have_happened_or_not() {
        let mut life = life();
        life.begins(at(120), Left { value: None, ttl: None });
        assert_eq!(reads(life, &[(130, 131, Some("a")), (130, 131, None)]), 0);
    }

    #[test]
    fn a_key_that_ended_cannot_be_extended() {
        let mut extended = life();
        extended.begins(at(120), lives("a", Some(500)));
        extended.ended(at(125));
        extended.saw(at(120), at(125), Some("a".into()));
        assert_eq!(reads(extended, &[(400, 401, Some("a"))]), 0);
        let mut late = life();
        late.begins(at(300), lives("a", Some(500)));
        late.ended(at(301));
        late.saw(at(300), at(301), Some("a".into()));
        assert_eq!(reads(late, &[]), 1);
    }
}
