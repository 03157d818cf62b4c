//! Scans of several pages: what they show is the bucket as it was at one moment, between the scan's begin and the end of its
//! first page.
//!
//! A bucket has one writer, which writes the numbers 1, 2, 3, ... to its keys in turn, one after the other. So each state of
//! the bucket is the number of writes that it holds.

use std::time::Duration;

/// One bucket of so many keys: its writes and the scans of it.
#[derive(Debug, Default)]
pub struct Turns<const KEYS: usize> {
    /// When each write began, and ended if that is known. Nothing is written behind one of which it is not.
    writes: Vec<(Duration, Option<Duration>)>,
    scans: Vec<Scan>,
}

#[derive(Debug)]
struct Scan {
    begun: Duration,
    /// When the first page was there, and the last one.
    cut_by: Duration,
    ended: Duration,
    /// The number in each key.
    seen: Vec<Option<u64>>,
}

impl<const KEYS: usize> Turns<KEYS> {
    /// The next write begins: the key it goes to, and the number to write.
    pub fn begins(&mut self, at: Duration) -> (usize, u64) {
        self.writes.push((at, None));
        ((self.writes.len() - 1) % KEYS, self.writes.len() as u64)
    }

    /// The last write was done.
    pub fn ended(&mut self, at: Duration) {
        if let Some(last) = self.writes.last_mut() {
            last.1 = Some(at);
        }
    }

    /// A scan has seen these numbers, key by key.
    pub fn scanned(&mut self, begun: Duration, cut_by: Duration, ended: Duration, seen: Vec<Option<u64>>) {
        self.scans.push(Scan { begun, cut_by, ended, seen });
    }

    /// Scans with a write between their first and their last page.
    pub fn scans_amid_writes(&self) -> u64 {
        let amid = |scan: &Scan| {
            self.writes
                .iter()
                .any(|(begun, ended)| *begun >= scan.cut_by && ended.is_some_and(|ended| ended <= scan.ended))
        };
        self.scans.iter().filter(|scan| amid(scan)).count() as u64
    }

    /// The scans that cannot be.
    pub fn breaches(&self) -> Vec<String> {
        self.scans.iter().filter_map(|scan| self.breach(scan)).collect()
    }

    fn breach(&self, scan: &Scan) -> Option<String> {
        let moment = scan.seen.iter().flatten().copied().max().unwrap_or(0);
        let expected: Vec<Option<u64>> = (0..KEYS as u64).map(|key| self.number_in(key, moment)).collect();
        if scan.seen != expected {
            return Some(format!("{scan:?} is no moment of the bucket: with {moment} it is {expected:?}"));
        }
        let done =
            self.writes.iter().filter(|(_, ended)| ended.is_some_and(|ended| ended <= scan.begun)).count() as u64;
        let begun = self.writes.iter().filter(|(begun, _)| *begun <= scan.cut_by).count() as u64;
        (!(done..=begun).contains(&moment))
            .then(|| format!("{scan:?} is of another time: {done} writes were done, and {begun} had begun"))
    }

    /// The number in a key once so many writes are done.
    fn number_in(&self, key: u64, writes: u64) -> Option<u64> {
        let keys = KEYS as u64;
        let rounds = (writes + keys - 1 - key) / keys;
        (rounds > 0).then(|| (rounds - 1) * keys + key + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Three keys and five writes; the n-th one from 10n to 10n + 5.
    fn turns() -> Turns<3> {
        let mut turns = Turns::default();
        for number in 1..=5 {
            let (key, written) = turns.begins(at(10 * number));
            assert_eq!((key as u64, written), ((number - 1) % 3, number));
            turns.ended(at(10 * number + 5));
        }
        turns
    }

    fn breaches(begun: u64, cut_by: u64, seen: [u64; 3]) -> usize {
        let mut turns = turns();
        let ended = at(cut_by + 10);
        turns.scanned(
            at(begun),
            at(cut_by),
            ended,
            seen.iter().map(|number| (*number > 0).then_some(*number)).collect(),
        );
        turns.breaches().len()
    }

    #[test]
    fn a_scan_shows_a_moment() {
        assert_eq!(breaches(0, 1, [0, 0, 0]), 0);
        assert_eq!(breaches(16, 18, [1, 0, 0]), 0);
        assert_eq!(breaches(36, 38, [1, 2, 3]), 0);
        assert_eq!(breaches(41, 44, [1, 2, 3]) + breaches(41, 44, [4, 2, 3]), 0, "while the fourth is written");
        assert_eq!(breaches(90, 95, [4, 5, 3]), 0);
    }

    #[test]
    fn pages_of_different_moments_are_found() {
        assert_eq!(breaches(41, 60, [1, 5, 3]), 1, "the second page is newer");
        assert_eq!(breaches(41, 60, [4, 0, 3]), 1, "a key is missing");
        assert_eq!(breaches(41, 60, [4, 2, 0]), 1);
    }

    #[test]
    fn a_scan_of_the_past_or_the_future_is_found() {
        assert_eq!(breaches(56, 58, [4, 2, 3]), 1, "the fifth was acknowledged before it began");
        assert_eq!(breaches(16, 18, [1, 2, 0]), 1, "the second had not begun");
        assert_eq!(breaches(16, 18, [0, 0, 0]), 1);
    }

    #[test]
    fn a_write_that_nobody_knows_of_may_be_there_or_not() {
        let mut turns = turns();
        turns.begins(at(60));
        turns.scanned(at(90), at(95), at(99), vec![Some(4), Some(5), Some(3)]);
        turns.scanned(at(90), at(95), at(99), vec![Some(4), Some(5), Some(6)]);
        assert_eq!(turns.breaches(), [""; 0]);
    }

    #[test]
    fn scans_with_a_write_between_their_pages_are_counted() {
        let mut turns = turns();
        turns.scanned(at(16), at(18), at(19), vec![Some(1), None, None]);
        assert_eq!(turns.scans_amid_writes(), 0);
        turns.scanned(at(16), at(18), at(26), vec![Some(1), None, None]);
        assert_eq!((turns.scans_amid_writes(), turns.breaches().len()), (1, 0));
    }
}
