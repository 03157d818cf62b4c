//! Intervals that begin at multiples of themselves.

use std::time::Duration;

/// How long it is from `now` on the boot clock to the next multiple of `interval`. Tasks that repeat something at the same
/// interval, or at a multiple of it, share their wake-ups if they sleep until then.
pub fn until_mark(now: Duration, interval: Duration) -> Duration {
    let since = now.as_nanos() % interval.as_nanos();
    interval - Duration::from_nanos(u64::try_from(since).expect("less than an interval"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_mark_is_ahead() {
        let mark = Duration::from_millis(50);
        for (now, left) in [(0, 50), (1, 49), (49, 1), (50, 50), (120, 30)] {
            assert_eq!(until_mark(Duration::from_millis(now), mark), Duration::from_millis(left), "{now} ms");
        }
    }
}
