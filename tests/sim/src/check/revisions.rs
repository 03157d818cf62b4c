//! Revisions of keys: each has one value and one time for ever, whoever reads it and when; what was newest at a time stays
//! that; what is not kept any more is said to be gone.

use std::collections::BTreeMap;

/// What a revision was seen to be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    /// None for a removal.
    value: Option<String>,
    /// When it was written, by machine time, if that was seen.
    written: Option<u64>,
}

/// What every revision was seen to be, by key and revision.
#[derive(Debug, Default)]
pub struct Revisions {
    known: BTreeMap<(String, u64), Version>,
    breaches: Vec<String>,
    read_back: u64,
}

impl Revisions {
    /// A write, or a read, says what a revision is, and perhaps when it was written.
    pub fn see(&mut self, key: &str, revision: u64, value: Option<&str>, written: Option<u64>) {
        let now = Version { value: value.map(str::to_owned), written };
        let known = self.known.entry((key.to_owned(), revision)).or_insert_with(|| now.clone());
        let differs = known.written.is_some() && written.is_some() && known.written != written;
        if known.value != now.value || differs {
            self.breaches.push(format!("revision {revision} of {key} is {now:?}, and was {known:?}"));
        }
        known.written = known.written.or(written);
    }

    /// A revision that is known, `back` before the newest known one of the key, and when it was written if that is known.
    pub fn pick(&self, key: &str, back: usize) -> Option<(u64, Option<u64>)> {
        self.of_key(key).rev().nth(back).map(|(revision, version)| (revision, version.written))
    }

    /// A known revision was read back: what came for it, and as which revision.
    pub fn read_back(&mut self, key: &str, asked: u64, came: u64, value: Option<&str>, written: Option<u64>) {
        self.read_back += 1;
        if value.is_some() && came != asked {
            self.breaches.push(format!("revision {asked} of {key} was asked for, and {came} came: {value:?}"));
        }
        self.see(key, asked, value, written);
    }

    /// What was newest at a time was read: the revision that came, and none in place of its value if it was a removal.
    pub fn read_at(&mut self, key: &str, time: u64, came: u64, value: Option<&str>, written: Option<u64>) {
        self.read_back += 1;
        if written.is_some_and(|written| written > time) {
            self.breaches.push(format!("{key} at {time} was asked for, and revision {came} came, of {written:?}"));
        }
        let newer = self
            .of_key(key)
            .find(|(revision, version)| *revision > came && version.written.is_some_and(|written| written <= time));
        if let Some((newer, version)) = newer {
            self.breaches
                .push(format!("{key} at {time} was asked for, and revision {came} came, not {newer}: {version:?}"));
        }
        // The number of a removal may stand for earlier ones that are not kept.
        if value.is_some() || self.known.contains_key(&(key.to_owned(), came)) {
            self.see(key, came, value, written);
        }
    }

    fn of_key(&self, key: &str) -> impl DoubleEndedIterator<Item = (u64, &Version)> {
        let of_key = self.known.range((key.to_owned(), 0)..=(key.to_owned(), u64::MAX));
        of_key.map(|((_, revision), version)| (*revision, version))
    }

    /// Reads of the past that were answered from what is kept.
    pub fn reads_back(&self) -> u64 {
        self.read_back
    }

    /// What cannot be.
    pub fn breaches(&self) -> Vec<String> {
        self.breaches.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Revisions 1 and 3 were written at 10 and 30, and 2 was a removal.
    fn seen() -> Revisions {
        let mut revisions = Revisions::default();
        revisions.see("k", 1, Some("a"), Some(10));
        revisions.see("k", 2, None, None);
        revisions.see("k", 3, Some("c"), None);
        revisions.see("k", 3, Some("c"), Some(30));
        revisions.see("other", 9, Some("z"), None);
        revisions
    }

    fn breaches(read: impl FnOnce(&mut Revisions)) -> usize {
        let mut revisions = seen();
        read(&mut revisions);
        revisions.breaches().len()
    }

    #[test]
    fn a_revision_stays_what_it_is() {
        let mut revisions = seen();
        revisions.read_back("k", 1, 1, Some("a"), Some(10));
        revisions.read_back("k", 2, 2, None, None);
        revisions.see("k", 3, Some("c"), None);
        assert_eq!((revisions.breaches().len(), revisions.reads_back()), (0, 2));
        assert_eq!(revisions.pick("k", 0), Some((3, Some(30))));
        assert_eq!((revisions.pick("k", 2), revisions.pick("k", 3)), (Some((1, Some(10))), None));
    }

    #[test]
    fn a_revision_with_two_values_is_found() {
        assert_eq!(breaches(|it| it.see("k", 3, Some("d"), None)), 1);
        assert_eq!(breaches(|it| it.see("k", 2, Some("b"), None)), 1);
        assert_eq!(breaches(|it| it.see("k", 3, Some("c"), Some(31))), 1, "of another time");
    }

    #[test]
    fn a_neighbours_value_is_found() {
        assert!(breaches(|it| it.read_back("k", 1, 3, Some("c"), Some(30))) > 0);
        assert!(
            breaches(|it| it.read_back("k", 1, 3, None, None)) > 0,
            "a value was there, and is said never to have been"
        );
    }

    #[test]
    fn what_was_newest_at_a_time_stays_that() {
        assert_eq!(breaches(|it| it.read_at("k", 10, 1, Some("a"), Some(10))), 0);
        assert_eq!(breaches(|it| it.read_at("k", 29, 2, None, None)), 0);
        assert_eq!(breaches(|it| it.read_at("k", 30, 3, Some("c"), Some(30))), 0);
        assert_eq!(breaches(|it| it.read_at("k", 99, 4, Some("d"), Some(40))), 0, "nobody has seen that one");
    }

    #[test]
    fn an_older_or_newer_revision_than_that_of_the_time_is_found() {
        assert_eq!(breaches(|it| it.read_at("k", 30, 1, Some("a"), Some(10))), 1, "the third was there");
        assert_eq!(breaches(|it| it.read_at("k", 30, 2, None, None)), 1);
        assert_eq!(breaches(|it| it.read_at("k", 29, 3, Some("c"), Some(30))), 1, "it was not written yet");
        assert_eq!(breaches(|it| it.read_at("k", 10, 1, None, None)), 1, "a value is said to be a removal");
    }
}
