//! Writes that carry a lock's token: one is applied only while the lock is held with that token, so none of an old holder is.

use std::{collections::BTreeMap, time::Duration};

/// One lock, and the key that is written under it alone.
#[derive(Debug, Default)]
pub struct Fence {
    /// Applied writes by their revision.
    applied: BTreeMap<u64, Write>,
    /// Tokens up to this one were over, and since when that is known.
    over: Vec<(u64, Duration)>,
    refused: u64,
}

#[derive(Debug)]
struct Write {
    token: u64,
    begun: Duration,
}

impl Fence {
    /// It is known since `at` that the lock was granted with `token`: no lower one holds any more.
    pub fn granted(&mut self, token: u64, at: Duration) {
        self.over.push((token.saturating_sub(1), at));
    }

    /// It is known since `at` that the grant with `token` was given back.
    pub fn released(&mut self, token: u64, at: Duration) {
        self.over.push((token, at));
    }

    /// A write with `token`, which began at `begun`, made the key's `revision`.
    pub fn applied(&mut self, token: u64, begun: Duration, revision: u64) {
        self.applied.insert(revision, Write { token, begun });
    }

    /// A write was refused for its token.
    pub fn refused(&mut self) {
        self.refused += 1;
    }

    /// Writes that were refused for their tokens.
    pub fn refusals(&self) -> u64 {
        self.refused
    }

    /// What cannot be.
    pub fn breaches(&self) -> Vec<String> {
        let late = self.applied.iter().filter_map(|(revision, write)| {
            let (token, at) = self.over.iter().find(|(token, at)| *token >= write.token && *at <= write.begun)?;
            Some(format!("revision {revision} is of {write:?}, and tokens up to {token} were over at {at:?}"))
        });
        let writes: Vec<(&u64, &Write)> = self.applied.iter().collect();
        let behind = writes.windows(2).filter(|pair| pair[1].1.token < pair[0].1.token);
        late.chain(behind.map(|pair| format!("{:?} was applied behind {:?}", pair[1], pair[0]))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Granted with 1, 2 and 3, which was given back.
    fn fence() -> Fence {
        let mut fence = Fence::default();
        fence.granted(1, at(10));
        fence.granted(2, at(20));
        fence.granted(3, at(30));
        fence.released(3, at(40));
        fence
    }

    fn breaches(writes: &[(u64, u64, u64)]) -> usize {
        let mut fence = fence();
        writes.iter().for_each(|(token, begun, revision)| fence.applied(*token, at(*begun), *revision));
        fence.breaches().len()
    }

    #[test]
    fn holders_write_one_after_the_other() {
        assert_eq!(breaches(&[(1, 11, 1), (2, 19, 2), (2, 21, 3), (3, 39, 4)]), 0);
        assert_eq!(breaches(&[(1, 19, 1)]), 0, "the second was not known to be granted when it began");
    }

    #[test]
    fn a_write_of_an_old_holder_is_found() {
        assert_eq!(breaches(&[(1, 20, 1)]), 1);
        assert_eq!(breaches(&[(3, 41, 1)]), 1, "given back");
    }

    #[test]
    fn a_write_behind_that_of_a_later_holder_is_found() {
        assert_eq!(breaches(&[(2, 19, 1), (1, 18, 2)]), 1);
    }
}
