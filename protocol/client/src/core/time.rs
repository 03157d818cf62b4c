//! The servers' time, as their stamps show it: what `valid_until` counts from.
//!
//! ```text
//!   stamp of                 becomes
//!   a welcome                the general clock
//!   an answer, behind it     the general clock
//!   or at most the skew
//!   ahead of it
//!   an answer, further       the time of the partition that answered, and of no other
//!   ahead
//! ```
//! Both run on with this machine's monotonic clock. A partition may be ahead of all clocks: its machine time never goes
//! back, though the clock that it once went by was set right.

use std::collections::BTreeMap;
use std::time::Duration;

use kahuna_protocol::Hlc;

use crate::Now;

/// A clock read at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    unix_ms: u64,
    at: Duration,
}

impl Reading {
    /// The clock that showed `stamp` now.
    pub(crate) fn of(stamp: Hlc, now: Now) -> Self {
        Self { unix_ms: stamp.millis(), at: now.elapsed }
    }

    /// Unix milliseconds by that clock at `now`.
    pub(crate) fn at(self, now: Duration) -> u64 {
        let since = now.saturating_sub(self.at).as_millis();
        self.unix_ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

/// What a client knows of the servers' clocks.
#[derive(Debug, Default)]
pub struct ServerTime {
    general: Option<Reading>,
    /// Partitions whose time is ahead of the general clock by more than the skew; 0 is one that the map does not tell.
    ahead: BTreeMap<u32, Reading>,
    /// The highest stamp that the general clock followed.
    highest: Hlc,
    max_skew_ms: u64,
}

impl ServerTime {
    /// A node of the cluster greeted: its clocks differ from others' by at most `max_skew_ms` milliseconds. A stamp of 0 says
    /// that it does not know the time yet.
    pub fn greeted(&mut self, stamp: Hlc, max_skew_ms: u32, now: Now) {
        self.max_skew_ms = u64::from(max_skew_ms);
        if stamp != Hlc::ZERO {
            self.follow(stamp, now);
        }
    }

    /// An answer came about `partition`; `None` if it was about none, or about one that the map does not tell.
    pub fn answered(&mut self, stamp: Hlc, partition: Option<u32>, now: Now) {
        if stamp == Hlc::ZERO {
            return;
        }
        let partition = partition.unwrap_or(0);
        let general = self.general.map(|general| general.at(now.elapsed));
        if general.is_some_and(|general| stamp.millis() > general.saturating_add(self.max_skew_ms)) {
            self.ahead.insert(partition, Reading { unix_ms: stamp.millis(), at: now.elapsed });
        } else {
            self.ahead.remove(&partition);
            self.follow(stamp, now);
        }
    }

    fn follow(&mut self, stamp: Hlc, now: Now) {
        self.general = Some(Reading { unix_ms: stamp.millis(), at: now.elapsed });
        let is_near = self.highest.millis() <= stamp.millis().saturating_add(self.max_skew_ms);
        self.highest = if is_near { self.highest.max(stamp) } else { stamp };
    }

    /// Unix milliseconds by the clock that `partition` goes by; by this machine's own as long as no node told the time.
    pub fn unix_ms(&self, partition: Option<u32>, now: Now) -> u64 {
        let general = self.general.map_or(now.unix_ms, |general| general.at(now.elapsed));
        let ahead = self.ahead.get(&partition.unwrap_or(0)).map_or(0, |ahead| ahead.at(now.elapsed));
        general.max(ahead)
    }

    /// Forgets the partitions that the map does not have any more.
    pub fn keep(&mut self, exists: impl Fn(u32) -> bool) {
        self.ahead.retain(|partition, _| *partition == 0 || exists(*partition));
    }

    /// The stamp of a frame to a node: the highest that the general clock followed.
    pub fn highest(&self) -> Hlc {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const START: u64 = 1_700_000_000_000;

    fn now(seconds: u64) -> Now {
        Now { elapsed: Duration::from_secs(seconds), unix_ms: 77 }
    }

    fn stamp(ms: u64) -> Hlc {
        Hlc::from_millis(START + ms)
    }

    fn greeted() -> ServerTime {
        let mut time = ServerTime::default();
        time.greeted(stamp(0), 250, now(0));
        time
    }

    #[test]
    fn before_anybody_told_the_time_it_is_this_machines() {
        let mut time = ServerTime::default();
        time.greeted(Hlc::ZERO, 250, now(0));
        time.answered(Hlc::ZERO, Some(1), now(0));
        assert_eq!((time.unix_ms(Some(1), now(3)), time.highest()), (77, Hlc::ZERO));
    }

    #[test]
    fn it_follows_the_latest_stamp_and_runs_on() {
        let mut time = greeted();
        assert_eq!(time.unix_ms(None, now(2)), START + 2_000);
        time.answered(stamp(2_250), Some(1), now(2));
        assert_eq!(time.unix_ms(Some(2), now(3)), START + 3_250);
        assert_eq!(time.highest(), stamp(2_250));
        time.answered(stamp(1_000), Some(1), now(3));
        assert_eq!(time.unix_ms(None, now(3)), START + 1_000, "it goes back as well");
        assert_eq!(time.highest(), stamp(1_000));
    }

    #[test]
    fn a_partition_that_is_ahead_is_ahead_for_itself() {
        let mut time = greeted();
        time.answered(stamp(HOUR), Some(1), now(1));
        assert_eq!(time.unix_ms(Some(1), now(2)), START + HOUR + 1_000);
        assert_eq!(time.unix_ms(Some(2), now(2)), START + 2_000);
        assert_eq!(time.unix_ms(None, now(2)), START + 2_000);
        assert_eq!(time.highest(), stamp(0));
        time.answered(stamp(3_100), Some(1), now(3));
        assert_eq!(time.unix_ms(Some(1), now(3)), START + 3_100, "the clocks have caught up");
    }

    #[test]
    fn a_clock_that_was_ahead_counts_until_the_next_greeting() {
        let mut time = ServerTime::default();
        time.greeted(stamp(HOUR), 250, now(0));
        time.greeted(stamp(1_000), 250, now(1));
        assert_eq!((time.unix_ms(None, now(1)), time.highest()), (START + 1_000, stamp(1_000)));
    }

    #[test]
    fn a_partition_that_is_gone_leaves_nothing() {
        let mut time = greeted();
        for partition in [None, Some(1), Some(2)] {
            time.answered(stamp(HOUR), partition, now(1));
        }
        time.keep(|partition| partition == 2);
        assert_eq!(time.ahead.keys().copied().collect::<Vec<_>>(), [0, 2]);
    }
}
