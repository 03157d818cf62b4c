//! Keys that are only appended to: every acknowledged item is in the value once, behind all that was there before, and
//! `KeyExists` shows the revisions that `KeyGet` shows.
//!
//! Items are numbers of one key, each written once, with a separator behind it. So a value says which appends were applied,
//! and in which order.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Stands behind every item.
const SEPARATOR: char = ';';

/// One key: the appends to it, and what was seen of it.
#[derive(Debug, Default)]
pub struct Appended {
    appends: Vec<Append>,
    sights: Vec<Sight>,
    breaches: Vec<String>,
}

#[derive(Debug)]
struct Append {
    begun: Duration,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Not answered, or nobody knows what became of it.
    Unknown,
    /// It was said not to have been applied.
    Refused,
    /// The answer came at this time.
    Applied(Duration),
}

/// The key had this revision at some moment between `begun` and `ended`; 0 if it did not exist.
#[derive(Debug)]
struct Sight {
    begun: Duration,
    ended: Duration,
    revision: u64,
    by: By,
}

#[derive(Debug)]
enum By {
    /// The append of this item made the revision.
    Append(usize),
    /// A read showed these items.
    Value(Vec<usize>),
    Exists,
}

impl Appended {
    /// An append begins: its item, and the bytes to append.
    pub fn begins(&mut self, at: Duration) -> (usize, String) {
        self.appends.push(Append { begun: at, fate: Fate::Unknown });
        let item = self.appends.len() - 1;
        (item, format!("{item}{SEPARATOR}"))
    }

    /// The append of `item` was answered: it made `revision`.
    pub fn applied(&mut self, item: usize, at: Duration, revision: u64) {
        self.appends[item].fate = Fate::Applied(at);
        let begun = self.appends[item].begun;
        self.sights.push(Sight { begun, ended: at, revision, by: By::Append(item) });
    }

    /// The append of `item` was answered: nothing was changed.
    pub fn refused(&mut self, item: usize) {
        self.appends[item].fate = Fate::Refused;
    }

    /// A read showed `value` at `revision`; both are none if it found no key.
    pub fn read(&mut self, begun: Duration, ended: Duration, seen: Option<(&str, u64)>) {
        let (value, revision) = seen.unwrap_or_default();
        match self.items_of(value) {
            Some(items) => self.sights.push(Sight { begun, ended, revision, by: By::Value(items) }),
            None => self.breaches.push(format!("{value:?} was read, which nobody appended")),
        }
    }

    /// `KeyExists` showed `revision`; none if it found no key.
    pub fn existed(&mut self, begun: Duration, ended: Duration, revision: Option<u64>) {
        self.sights.push(Sight { begun, ended, revision: revision.unwrap_or(0), by: By::Exists });
    }

    fn items_of(&self, value: &str) -> Option<Vec<usize>> {
        let items = value.strip_suffix(SEPARATOR).map_or(Vec::new(), |items| items.split(SEPARATOR).collect());
        let numbers: Option<Vec<usize>> = items.into_iter().map(|item| item.parse().ok()).collect();
        let whole = value.is_empty() || value.ends_with(SEPARATOR);
        numbers.filter(|numbers| whole && numbers.iter().all(|item| *item < self.appends.len()))
    }

    /// The highest revision that was seen last, for a condition; 0 before the key was seen.
    pub fn newest(&self) -> u64 {
        self.sights.iter().map(|sight| sight.revision).max().unwrap_or(0)
    }

    /// Reads that showed items of several appends.
    pub fn values_seen(&self) -> u64 {
        self.sights.iter().filter(|sight| matches!(&sight.by, By::Value(items) if items.len() > 1)).count() as u64
    }

    /// Answers to `KeyExists` that named a revision.
    pub fn existences_seen(&self) -> u64 {
        self.sights.iter().filter(|sight| matches!(sight.by, By::Exists) && sight.revision > 0).count() as u64
    }

    /// What cannot be.
    pub fn breaches(&self) -> Vec<String> {
        let mut all = self.breaches.clone();
        self.judge_values(&mut all);
        self.judge_order(&mut all);
        all
    }

    /// What each value says by itself, and of the longest one.
    fn judge_values(&self, breaches: &mut Vec<String>) {
        let empty = Vec::new();
        let values = || {
            self.sights.iter().filter_map(|sight| match &sight.by {
                By::Value(items) => Some((sight, items)),
                _ => None,
            })
        };
        let longest = values().map(|(_, items)| items).max_by_key(|items| items.len()).unwrap_or(&empty);
        // How many items the value has at each revision.
        let mut lengths = BTreeMap::from([(0, 0)]);
        for (sight, items) in values() {
            if items.iter().collect::<BTreeSet<_>>().len() < items.len() {
                breaches.push(format!("an item is there twice: {sight:?}"));
            } else if !longest.starts_with(items) {
                breaches.push(format!("{sight:?} is not how {longest:?} begins"));
            }
            if let Some(item) = items.iter().find(|item| self.appends[**item].fate == Fate::Refused) {
                breaches.push(format!("the append of {item} was refused, and is there: {sight:?}"));
            }
            if let Some(item) = items.iter().find(|item| self.appends[**item].begun > sight.ended) {
                breaches.push(format!("the append of {item} had not begun, and is there: {sight:?}"));
            }
            let length = *lengths.entry(sight.revision).or_insert(items.len());
            if length != items.len() {
                breaches.push(format!("{sight:?} had {length} items before"));
            }
        }
        for (item, sight) in self.sights.iter().filter_map(|sight| match sight.by {
            By::Append(item) => Some((item, sight)),
            _ => None,
        }) {
            let place = longest.iter().position(|other| *other == item);
            for (read, items) in values() {
                if (read.revision >= sight.revision) != items.contains(&item) {
                    breaches.push(format!("{sight:?} made that revision, and was read otherwise: {read:?}"));
                }
            }
            if let Some(place) = place {
                let length = *lengths.entry(sight.revision).or_insert(place + 1);
                if length != place + 1 {
                    breaches.push(format!("{sight:?} is item {place}, and its revision has {length} items"));
                }
            }
        }
        // An append that was over before another one began is in front of it.
        let mut over = Duration::MAX;
        for item in longest.iter().rev() {
            let Append { begun, fate } = &self.appends[*item];
            if *begun > over {
                breaches.push(format!("{item} stands in front of an item that was there at {over:?}: {longest:?}"));
            }
            if let Fate::Applied(ended) = fate {
                over = over.min(*ended);
            }
        }
        // Later revisions have more items, and no two have equally many.
        let lengths: Vec<_> = lengths.into_iter().collect();
        for pair in lengths.windows(2).filter(|pair| pair[0].1 >= pair[1].1) {
            let [(one, few), (other, more)] = [pair[0], pair[1]];
            breaches.push(format!("revision {one} has {few} items, and revision {other} has {more}"));
        }
    }

    /// What was seen before does not go back, and an append makes a revision of its own.
    fn judge_order(&self, breaches: &mut Vec<String>) {
        let mut by_begin: Vec<&Sight> = self.sights.iter().collect();
        by_begin.sort_by_key(|sight| sight.begun);
        let mut by_end = by_begin.clone();
        by_end.sort_by_key(|sight| sight.ended);
        let (mut over, mut highest) = (by_end.into_iter().peekable(), None::<&Sight>);
        for sight in by_begin {
            while let Some(ended) = over.next_if(|ended| ended.ended < sight.begun) {
                highest = highest.filter(|highest| highest.revision >= ended.revision).or(Some(ended));
            }
            let Some(before) = highest else { continue };
            let appends = matches!(sight.by, By::Append(_));
            if sight.revision < before.revision || appends && sight.revision == before.revision {
                breaches.push(format!("{sight:?} came after {before:?} was over"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Items 0 to 4, of which 0, 1 and 3 made the revisions 1, 2 and 5 by 15, 25 and 45; 2 was refused, and nobody knows of 4.
    fn appended() -> Appended {
        let mut key = Appended::default();
        for item in 0..5 {
            assert_eq!(key.begins(at(10 * item + 10)), (item as usize, format!("{item};")));
        }
        key.applied(0, at(15), 1);
        key.applied(1, at(25), 2);
        key.refused(2);
        key.applied(3, at(45), 5);
        key
    }

    fn breaches(see: impl FnOnce(&mut Appended)) -> usize {
        let mut key = appended();
        see(&mut key);
        key.breaches().len()
    }

    #[test]
    fn what_was_acknowledged_is_there_once_and_in_its_place() {
        assert_eq!(breaches(|key| key.read(at(1), at(9), None)), 0);
        assert_eq!(breaches(|key| key.read(at(16), at(18), Some(("0;", 1)))), 0);
        assert_eq!(breaches(|key| key.read(at(22), at(24), Some(("0;1;", 2)))), 0, "while it is appended");
        assert_eq!(breaches(|key| key.read(at(50), at(60), Some(("0;1;3;", 5)))), 0);
        assert_eq!(breaches(|key| key.read(at(50), at(60), Some(("0;1;3;4;", 6)))), 0, "the unknown one was applied");
        assert_eq!(breaches(|key| key.read(at(50), at(60), Some(("0;1;4;3;", 5)))), 1, "it had not begun");
    }

    #[test]
    fn an_item_that_is_lost_twice_there_or_displaced_is_found() {
        assert!(breaches(|key| key.read(at(50), at(60), Some(("0;1;", 5)))) > 0, "the last one is lost");
        assert!(breaches(|key| key.read(at(50), at(60), Some(("0;3;", 5)))) > 0, "one in the middle is lost");
        assert!(breaches(|key| key.read(at(50), at(60), Some(("0;1;1;3;", 6)))) > 0, "one is there twice");
        assert!(breaches(|key| key.read(at(50), at(60), Some(("1;0;3;", 5)))) > 0, "in another order");
        assert!(breaches(|key| key.read(at(50), at(60), Some(("0;1;2;3;", 5)))) > 0, "one was refused");
        assert!(breaches(|key| key.read(at(50), at(60), Some(("0;1;3", 5)))) > 0, "the end is cut off");
        assert!(breaches(|key| key.read(at(50), at(60), Some(("0;1;3;9;", 6)))) > 0, "nobody appended that");
    }

    #[test]
    fn values_of_one_key_that_contradict_each_other_are_found() {
        let mut key = appended();
        key.read(at(50), at(60), Some(("0;1;3;", 5)));
        assert_eq!((key.breaches().len(), key.values_seen()), (0, 1));
        key.read(at(50), at(60), Some(("0;1;3;4;", 5)));
        assert!(!key.breaches().is_empty(), "one revision with two values");
    }

    #[test]
    fn the_past_and_a_revision_that_does_not_rise_are_found() {
        assert_eq!(breaches(|key| key.read(at(30), at(35), Some(("0;", 1)))), 1, "the second was acknowledged");
        assert_eq!(breaches(|key| key.read(at(30), at(35), None)), 1);
        let mut key = appended();
        let (item, _) = key.begins(at(60));
        key.applied(item, at(65), 5);
        assert_eq!(key.breaches().len(), 1, "two appends made one revision");
    }

    #[test]
    fn existence_shows_the_revision_of_its_time() {
        assert_eq!(breaches(|key| key.existed(at(1), at(9), None)), 0);
        assert_eq!(breaches(|key| key.existed(at(12), at(14), None)), 0, "while the first is appended");
        assert_eq!(breaches(|key| key.existed(at(26), at(28), Some(2))), 0);
        assert_eq!(breaches(|key| key.existed(at(26), at(28), Some(3))), 0, "of an append that nobody knows of");
        assert_eq!(breaches(|key| key.existed(at(26), at(28), None)), 1, "the key is said not to be there");
        assert_eq!(breaches(|key| key.existed(at(26), at(28), Some(1))), 1, "of the past");
        assert_eq!(breaches(|key| key.existed(at(26), at(28), Some(6))), 1, "of the future");
    }
}
