//! Log matching: "if two logs contain an entry with the same index and term, then the logs are identical in all entries up
//! through the given index."
//!
//! By induction that is: index and term determine an entry's content, and the term of the entry before it.

use std::collections::BTreeMap;

use kahuna_protocol::GroupId;

use crate::cluster::{GroupView, LogEntry};

/// What was seen of all logs.
#[derive(Debug, Default)]
pub(super) struct LogMatching {
    /// By group, index and term: a hash of the entry's content, and the term of the entry before it where that was seen.
    entries: BTreeMap<(GroupId, u64, u64), (u64, Option<u64>)>,
}

impl LogMatching {
    /// Takes down a piece of a replica's log; what does not match others, if anything.
    pub(super) fn see(&mut self, view: &GroupView, entries: &[LogEntry]) -> Option<String> {
        let mut before = None;
        for entry in entries {
            let (digest, previous) =
                self.entries.entry((view.group, entry.index, entry.term)).or_insert((entry.digest, before));
            let wrong = if *digest != entry.digest {
                Some("says something else than")
            } else if previous.zip(before).is_some_and(|(one, other)| one != other) {
                Some("follows on an entry of another term than")
            } else {
                None
            };
            if let Some(wrong) = wrong {
                let LogEntry { index, term, .. } = entry;
                return Some(format!(
                    "entry {index} of term {term} on replica {} of group {} {wrong} the same entry elsewhere",
                    view.replica, view.group
                ));
            }
            *previous = previous.or(before);
            before = Some(entry.term);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::replica, *};

    fn see(matching: &mut LogMatching, number: u64, terms: &[u64]) -> bool {
        let (view, entries) = replica(number, 9, false, 0, terms);
        matching.see(&view, &entries).is_none()
    }

    #[test]
    fn logs_may_differ_behind_their_last_common_entry() {
        let mut matching = LogMatching::default();
        assert!(see(&mut matching, 1, &[1, 1, 2, 2]));
        assert!(see(&mut matching, 2, &[1, 1, 3]));
        assert!(see(&mut matching, 3, &[1, 1, 2]));
    }

    #[test]
    fn an_entry_has_one_entry_before_it() {
        let mut matching = LogMatching::default();
        assert!(see(&mut matching, 1, &[1, 1, 3]));
        assert!(!see(&mut matching, 2, &[1, 2, 3]));
    }

    #[test]
    fn an_entry_whose_log_begins_with_it_is_compared_all_the_same() {
        let mut matching = LogMatching::default();
        let (view, entries) = replica(1, 9, false, 0, &[1, 1, 3]);
        assert_eq!(matching.see(&view, &entries[2..]), None);
        assert!(see(&mut matching, 2, &[1, 1, 3]));
        assert!(!see(&mut matching, 3, &[1, 2, 3]));
        let other = LogEntry { digest: 7, ..entries[2] };
        assert!(matching.see(&view, &[other]).is_some());
    }
}
