//! Which shards of another node stand still: each counts up as long as it runs, and the node's pulses show the counts.

use std::time::Duration;

use kahuna_protocol::ShardId;

/// A shard whose count has not changed for so long, in so many pulses, stands still.
const STALLED_AFTER: Duration = Duration::from_secs(1);
const PULSES: u32 = 3;

/// What the pulses of one node showed of its shards, by shard.
#[derive(Debug, Default)]
pub(super) struct Counters(Vec<Counter>);

#[derive(Debug)]
struct Counter {
    count: u64,
    /// When this count was seen first, as time since boot, and in how many pulses since.
    since: Duration,
    pulses: u32,
    stalled: bool,
}

impl Counters {
    /// Looks at the counts of one pulse; the shards that stand still from now on, with `true`, and those that move again.
    pub(super) fn look(&mut self, counts: &[u64], now: Duration) -> Vec<(ShardId, bool)> {
        self.0.truncate(counts.len());
        let mut changes = Vec::new();
        for (shard, &count) in (0..=u16::MAX).zip(counts) {
            let Some(counter) = self.0.get_mut(usize::from(shard)) else {
                self.0.push(Counter { count, since: now, pulses: 0, stalled: false });
                continue;
            };
            if counter.count != count {
                let was_stalled = counter.stalled;
                *counter = Counter { count, since: now, pulses: 0, stalled: false };
                changes.extend(was_stalled.then_some((ShardId(shard), false)));
                continue;
            }
            counter.pulses += 1;
            if !counter.stalled && counter.pulses >= PULSES && now >= counter.since + STALLED_AFTER {
                counter.stalled = true;
                changes.push((ShardId(shard), true));
            }
        }
        changes
    }

    /// Forgets how long the counts stood still: pulses were late until `now`, so the standstill proves nothing.
    pub(super) fn forget(&mut self, now: Duration) {
        for counter in &mut self.0 {
            (counter.since, counter.pulses) = (now, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_count_that_stands_for_long_is_a_shard_that_does() {
        let mut counters = Counters::default();
        let mut at = |now, counts: &[u64]| counters.look(counts, ms(now));
        assert_eq!(at(0, &[5, 9]), []);
        assert_eq!(at(400, &[6, 9]), []);
        assert_eq!(at(800, &[7, 9]), []);
        assert_eq!(at(999, &[8, 9]), [], "not long enough");
        assert_eq!(at(1000, &[9, 9]), [(ShardId(1), true)]);
        assert_eq!(at(1100, &[9, 9]), [], "said once");
        assert_eq!(at(1200, &[10, 10]), [(ShardId(1), false)]);
        assert_eq!(at(9000, &[11, 10]), [], "too few pulses");
        assert_eq!(at(9001, &[12, 10]), []);
        assert_eq!(at(9002, &[13, 10, 3]), [(ShardId(1), true)]);
        assert_eq!(at(9003, &[]), []);
    }

    #[test]
    fn what_was_seen_before_a_pause_of_the_watcher_counts_for_nothing() {
        let mut counters = Counters::default();
        (0..3).for_each(|at| assert_eq!(counters.look(&[5], ms(at)), []));
        counters.forget(ms(5000));
        (5001..5005).for_each(|at| assert_eq!(counters.look(&[5], ms(at)), []));
        assert_eq!(counters.look(&[5], ms(6000)), [(ShardId(0), true)]);
    }
}
