//! What things are called.

use std::time::Duration;

/// How long names are used before others take their place, where they change.
const EPOCH: Duration = Duration::from_secs(20);

/// Who uses which names, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Naming {
    /// All clients use the same names all the time.
    Same,
    /// Clients fall into so many groups with names of their own. Names of keys and locks change with the time, so that no
    /// single history gets too long to be judged.
    Groups(u64),
}

/// The names that a group of clients uses at a time.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// In the names of sequences, and in those of keys and locks.
    lasting: String,
    passing: String,
}

impl Naming {
    /// What `process` uses at `now`.
    pub(super) fn of(self, process: u64, now: Duration) -> Names {
        match self {
            Self::Same => Names { lasting: String::new(), passing: String::new() },
            Self::Groups(groups) => Names::of_group(process % groups, epoch(now)),
        }
    }

    /// All names of keys and locks that were used until `now`.
    pub(super) fn until(self, now: Duration) -> Vec<Names> {
        match self {
            Self::Same => vec![self.of(0, now)],
            Self::Groups(groups) => {
                (0..groups).flat_map(|group| (0..=epoch(now)).map(move |at| Names::of_group(group, at))).collect()
            }
        }
    }

    /// One group of names for each that sequences have.
    pub(super) fn lasting(self) -> Vec<Names> {
        self.until(Duration::ZERO)
    }
}

fn epoch(now: Duration) -> u64 {
    now.as_secs() / EPOCH.as_secs()
}

impl Names {
    fn of_group(group: u64, epoch: u64) -> Self {
        Self { lasting: format!("{group}-"), passing: format!("{group}-{epoch}-") }
    }

    pub(super) fn key(&self, number: u64) -> String {
        format!("key-{}{number}", self.passing)
    }

    /// The key that is only appended to.
    pub(super) fn appended(&self) -> String {
        format!("appended-{}", self.passing)
    }

    pub(super) fn lock(&self, number: u64) -> String {
        format!("lock-{}{number}", self.passing)
    }

    pub(super) fn sequence(&self, number: u64) -> String {
        format!("sequence-{}{number}", self.lasting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_epochs_share_no_key_and_epochs_share_sequences() {
        let naming = Naming::Groups(2);
        let at = |process, seconds| naming.of(process, Duration::from_secs(seconds));
        assert_eq!(at(3, 19).key(4), "key-1-0-4");
        assert_eq!((at(2, 20).lock(0), at(2, 20).sequence(1)), ("lock-0-1-0".into(), "sequence-0-1".into()));
        assert_eq!((naming.until(Duration::from_secs(45)).len(), naming.lasting().len()), (6, 2));
        assert_eq!(Naming::Same.of(7, EPOCH * 9).key(4), "key-4");
        assert_eq!(Naming::Same.until(EPOCH * 9).len(), 1);
    }
}
