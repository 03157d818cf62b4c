//! The servers' time, as their stamps show it: what `valid_until` counts from.
//!
//! ```text
//!   stamp of                                becomes
//!   a welcome, a map, a status              the general clock
//!   an answer of a partition, within        nothing new: the partition goes by the general clock
//!   the skew of it
//!   an answer of a partition, further off   the time of this partition, and of no other
//! ```
//! Both run on with this machine's monotonic clock. A partition may be ahead of all clocks: its machine time never goes
//! back, though the clock that it once went by was set right.

use std::collections::BTreeMap;
use std::time::Duration;

use kahuna_protocol::{GroupId, Hlc};

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

/// No cluster allows its clocks to differ by more than this, in milliseconds.
const MOST_SKEW_MS: u64 = 10_000;

/// What a client knows of the servers' clocks.
#[derive(Clone, Debug, Default)]
pub struct ServerTime {
    general: Option<Reading>,
    /// Partitions whose time is off the general clock by more than the skew.
    off: BTreeMap<GroupId, Reading>,
    highest: Hlc,
    max_skew_ms: u64,
}

impl ServerTime {
    /// A node of the cluster greeted: its clocks differ from others' by at most `max_skew_ms` milliseconds.
    pub fn greeted(&mut self, stamp: Hlc, max_skew_ms: u32, now: Now) {
        self.max_skew_ms = u64::from(max_skew_ms).min(MOST_SKEW_MS);
        self.told(stamp, now);
    }

    /// Takes a stamp of a node's own clock. A stamp of 0 means that the node does not know the time yet.
    pub fn told(&mut self, stamp: Hlc, now: Now) {
        if stamp == Hlc::ZERO {
            return;
        }
        self.general = Some(Reading { unix_ms: stamp.millis(), at: now.elapsed });
        let is_near = self.highest.millis() <= stamp.millis().saturating_add(self.max_skew_ms);
        self.highest = if is_near { self.highest.max(stamp) } else { stamp };
    }

    /// Takes the stamp of an answer from `partition`; returns whether its time is new and has to be compared with the
    /// general clock.
    pub fn answered(&mut self, stamp: Hlc, partition: GroupId, now: Now) -> bool {
        if stamp == Hlc::ZERO {
            return false;
        }
        let general = self.general.map(|general| general.at(now.elapsed));
        let is_near = general.is_some_and(|general| stamp.millis().abs_diff(general) <= self.max_skew_ms);
        if is_near {
            self.off.remove(&partition);
            return false;
        }
        self.off.insert(partition, Reading { unix_ms: stamp.millis(), at: now.elapsed }).is_none()
    }

    /// Unix milliseconds by the clock that `partition` goes by, or that most do; by this machine's own as long as no node
    /// sent a stamp.
    pub fn unix_ms(&self, partition: Option<GroupId>, now: Now) -> u64 {
        let off = partition.and_then(|partition| self.off.get(&partition));
        off.or(self.general.as_ref()).map_or(now.unix_ms, |reading| reading.at(now.elapsed))
    }

    /// Forgets the partitions that the map does not have any more.
    pub fn keep(&mut self, exists: impl Fn(GroupId) -> bool) {
        self.off.retain(|partition, _| exists(*partition));
    }

    /// The stamp of a frame to a node: the highest that nodes sent of their own clocks.
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
        time.answered(Hlc::ZERO, GroupId(1), now(0));
        assert_eq!((time.unix_ms(Some(GroupId(1)), now(3)), time.highest()), (77, Hlc::ZERO));
        assert!(time.answered(stamp(0), GroupId(1), now(0)), "the general clock is still to be asked for");
        assert_eq!(time.unix_ms(Some(GroupId(1)), now(1)), START + 1_000);
    }

    #[test]
    fn it_is_the_nodes_latest_word_and_runs_on() {
        let mut time = greeted();
        assert_eq!(time.unix_ms(None, now(2)), START + 2_000);
        for said in [HOUR, 1_000] {
            time.told(stamp(said), now(2));
            assert_eq!(time.unix_ms(Some(GroupId(2)), now(3)), START + said + 1_000);
            assert_eq!(time.highest(), stamp(said), "forward and back");
        }
    }

    #[test]
    fn partitions_within_the_skew_do_not_lift_it_one_after_the_other() {
        let mut time = greeted();
        for (partition, ms) in [(GroupId(1), 200), (GroupId(2), 250)] {
            assert!(!time.answered(stamp(ms), partition, now(0)));
        }
        assert!(time.answered(stamp(400), GroupId(3), now(0)));
        assert_eq!((time.unix_ms(Some(GroupId(2)), now(0)), time.highest()), (START, stamp(0)));
    }

    #[test]
    fn a_partition_that_is_off_is_off_for_itself() {
        for off in [HOUR, 0] {
            let mut time = ServerTime::default();
            time.greeted(stamp(HOUR / 2), 250, now(0));
            assert!(time.answered(stamp(off), GroupId(1), now(0)));
            assert!(!time.answered(stamp(off), GroupId(1), now(0)), "no news");
            assert_eq!(time.unix_ms(Some(GroupId(1)), now(2)), START + off + 2_000);
            for other in [None, Some(GroupId(2))] {
                assert_eq!(time.unix_ms(other, now(2)), START + HOUR / 2 + 2_000);
            }
            assert_eq!(time.highest(), stamp(HOUR / 2));
            time.answered(stamp(HOUR / 2 + 3_100), GroupId(1), now(3));
            assert_eq!(
                time.unix_ms(Some(GroupId(1)), now(3)),
                START + HOUR / 2 + 3_000,
                "it goes by the general clock again"
            );
        }
    }

    #[test]
    fn one_node_that_allows_any_skew_does_not_make_every_time_near() {
        let mut time = ServerTime::default();
        time.greeted(stamp(0), u32::MAX, now(0));
        assert!(time.answered(stamp(HOUR), GroupId(1), now(0)));
    }

    #[test]
    fn a_partition_that_is_gone_leaves_nothing() {
        let mut time = greeted();
        for partition in [GroupId(1), GroupId(2)] {
            time.answered(stamp(HOUR), partition, now(1));
        }
        time.keep(|partition| partition == GroupId(2));
        assert_eq!(time.off.keys().copied().collect::<Vec<_>>(), [GroupId(2)]);
    }
}
