//! The door: which claims are under way.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::claim::Claim;
use super::expected::{Expected, Known};
use super::wrong::Wrong;
use crate::raft::entries::Entries;
use crate::raft::types::{LogId, Vote};

/// The claims that were let in, until openraft has answered them.
#[derive(Debug, Default)]
pub struct Door {
    under_way: RefCell<VecDeque<(u64, Claim)>>,
    next: Cell<u64>,
    /// The last entry in common with a leader, as openraft reported it.
    shared: Cell<Option<(Vote, LogId)>>,
}

/// A claim that was let in. Dropping it takes it for answered.
#[derive(Debug)]
pub struct Admitted<'a> {
    door: &'a Door,
    number: u64,
    /// The commit to hand over instead of the leader's.
    pub commit: Option<LogId>,
    /// A vote that is higher than the claim's, if one has been seen.
    pub higher: Option<Vote>,
}

impl Door {
    /// Checks a claim of a replica that has `entries`; `known` need not hold what is shared. An admitted claim must be
    /// handed to openraft before the next one is judged.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn admit(&self, claim: Claim, entries: &Entries, known: Known) -> Result<Admitted<'_>, Wrong> {
        let mut expected = Expected::new(entries, Known { shared: self.shared.get(), ..known });
        let mut under_way = self.under_way.borrow_mut();
        for (_, earlier) in &*under_way {
            expected.take(earlier);
        }
        expected.check(&claim)?;
        let higher = expected.is_stale(claim.vote).then(|| expected.vote());
        let commit = expected.take(&claim);
        let number = self.next.get();
        self.next.set(number + 1);
        under_way.push_back((number, claim));
        Ok(Admitted { door: self, number, commit, higher })
    }
}

impl Admitted<'_> {
    /// openraft has taken it: its log has all that was claimed.
    pub fn taken(&self) {
        let under_way = self.door.under_way.borrow();
        let Some((_, claim)) = under_way.iter().find(|(number, _)| *number == self.number) else { return };
        let before = self.door.shared.get().filter(|(vote, _)| *vote == claim.vote).map(|(_, last)| last);
        if let Some(last) = before.max(claim.last()) {
            self.door.shared.set(Some((claim.vote, last)));
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.door.under_way.borrow_mut().retain(|(number, _)| *number != self.number);
    }
}
