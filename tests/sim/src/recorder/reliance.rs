//! Who may rely on which lock, by its own clock.

use std::{collections::BTreeMap, time::Duration};

use crate::finding::{Finding, Judge};

/// How long each process may rely on a lock, by its client library.
#[derive(Debug, Default)]
pub struct Reliance {
    holders: BTreeMap<String, BTreeMap<u64, Duration>>,
}

impl Reliance {
    /// `process` gives `lock` back, or may get it for a shorter time.
    pub fn ends(&mut self, lock: &str, process: u64) {
        if let Some(holders) = self.holders.get_mut(lock) {
            holders.remove(&process);
        }
    }

    /// Whether `process` may rely on `lock` at `now`.
    pub fn is_relying(&self, lock: &str, process: u64, now: Duration) -> bool {
        let until = self.holders.get(lock).and_then(|holders| holders.get(&process));
        until.is_some_and(|until| *until > now)
    }

    /// From `now` to `until` `process` may rely on `lock`: no other process may.
    pub fn begins(&mut self, lock: &str, process: u64, until: Duration, now: Duration) -> Option<Finding> {
        let holders = self.holders.entry(lock.to_owned()).or_default();
        holders.insert(process, until);
        holders.retain(|_, until| *until > now);
        let relying: Vec<&u64> = holders.keys().collect();
        (relying.len() > 1 && until > now)
            .then(|| Finding::new(Judge::Reliance, format!("processes {relying:?} rely on {lock} at {now:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_after_the_other_may_rely_on_a_lock() {
        let mut reliance = Reliance::default();
        assert_eq!(reliance.begins("a", 1, at(5), at(0)), None);
        assert_eq!(reliance.begins("b", 2, at(5), at(0)), None, "another lock");
        assert_eq!(reliance.begins("a", 1, at(9), at(4)), None, "extended");
        assert!(reliance.is_relying("a", 1, at(8)) && !reliance.is_relying("a", 1, at(9)));
        assert!(!reliance.is_relying("a", 2, at(8)) && !reliance.is_relying("c", 1, at(8)));
        assert_eq!(reliance.begins("a", 2, at(12), at(9)), None, "over");
        reliance.ends("a", 2);
        assert_eq!(reliance.begins("a", 1, at(13), at(10)), None, "given back");
        assert_eq!(reliance.begins("a", 3, at(10), at(11)), None, "the answer came too late to rely on");
    }

    #[test]
    fn two_may_not_rely_on_a_lock_at_one_moment() {
        let mut reliance = Reliance::default();
        assert_eq!(reliance.begins("a", 1, at(5), at(0)), None);
        let finding = reliance.begins("a", 2, at(6), at(4)).expect("both rely on it");
        assert_eq!(finding.judge, Judge::Reliance);
    }
}
