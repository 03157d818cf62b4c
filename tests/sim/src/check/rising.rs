//! A number that only rises, as far as it is known: the revision of a key, the token of a lock.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rising {
    pub at: u64,
    /// Else: `at` or higher.
    pub exact: bool,
}

impl Rising {
    pub(super) fn next(self) -> Self {
        Self { at: self.at.saturating_add(1), ..self }
    }

    /// What is known after an answer named the number; none when that contradicts.
    pub(super) fn seen(self, number: Option<u64>) -> Option<Self> {
        match number {
            None => Some(self),
            Some(at) if at == self.at || (at > self.at && !self.exact) => Some(Self { at, exact: true }),
            Some(_) => None,
        }
    }

    /// Whether every number that `other` can be is one that this can be.
    pub(super) fn covers(self, other: Self) -> bool {
        if self.exact { self == other } else { other.at >= self.at }
    }

    /// For people.
    pub(super) fn show(self) -> String {
        if self.exact { self.at.to_string() } else { format!("{} or above", self.at) }
    }
}
