//! Snapshots while the disk is full: what was begun is given back, and the next attempt waits, longer each time.
//!
//! The free space is not looked at before an attempt. A snapshot cannot take what the log needs to go on, for the log's
//! reserve is allocated; at worst it delays the next allocation until it is given up or has replaced the one before. And
//! it is the snapshot that lets the log shrink: to leave one out because room is short would keep it short. So the pause is
//! for a log that stands still: one that has room, and has grown since the last attempt by what makes a snapshot due, gets another,
//! before it takes all the room that has come back. A log on its reserve does not: an attempt takes the room that it waits for.

use std::cell::Cell;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(32);

/// Whether the snapshots of one group, built or received, find room.
#[derive(Debug, Default)]
pub struct Shortage {
    /// No attempt before this, as time since boot.
    until: Cell<Duration>,
    /// The pause after the last attempt; zero while there is room.
    pause: Cell<Duration>,
}

impl Shortage {
    /// Whether the next attempt has to wait.
    pub fn holds(&self, now: Duration) -> bool {
        now < self.until.get()
    }

    /// An attempt found no room: the pause before the next one, and whether it was the first.
    pub fn begin(&self, now: Duration) -> (Duration, bool) {
        let before = self.pause.get();
        let pause = (2 * before).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.pause.set(pause);
        self.until.set(now + pause);
        (pause, before.is_zero())
    }

    /// An attempt found room: whether the one before had not.
    pub fn end(&self) -> bool {
        self.until.set(Duration::ZERO);
        !self.pause.take().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_begin_anew() {
        let shortage = Shortage::default();
        let mut now = Duration::from_secs(100);
        assert!(!shortage.holds(now) && !shortage.end());
        let pauses: Vec<u64> = (0..8)
            .map(|attempt| {
                let (pause, first) = shortage.begin(now);
                assert_eq!(first, attempt == 0);
                assert!(shortage.holds(now + pause - Duration::from_nanos(1)));
                now += pause;
                assert!(!shortage.holds(now));
                pause.as_secs()
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 32, 32]);
        assert!(shortage.end() && !shortage.end());
        assert_eq!(shortage.begin(now), (FIRST_PAUSE, true));
    }
}
