//! Leader completeness: "if a log entry is committed in a given term, then that entry will be present in the logs of the
//! leaders for all higher-numbered terms."
//!
//! An entry that some replica has applied is committed, in its own term at the latest.

use std::collections::BTreeMap;

use kahuna_protocol::GroupId;

use crate::cluster::{GroupView, LogEntry};

/// What is known to be committed.
#[derive(Debug, Default)]
pub(super) struct LeaderCompleteness {
    /// By group and index: the entry, and a term in which it was committed already.
    committed: BTreeMap<GroupId, BTreeMap<u64, (LogEntry, u64)>>,
}

impl LeaderCompleteness {
    /// Takes down what a replica has applied.
    pub(super) fn committed(&mut self, view: &GroupView, entries: &[LogEntry]) {
        let known = self.committed.entry(view.group).or_default();
        for entry in entries.iter().take_while(|entry| entry.index <= view.applied_index) {
            let (_, by) = known.entry(entry.index).or_insert((*entry, view.term));
            *by = view.term.min(*by);
        }
    }

    /// A replica is seen to lead in its term, with all of its log; what it lacks, if anything.
    pub(super) fn elected(&self, view: &GroupView, entries: &[LogEntry]) -> Option<String> {
        let first = entries.first().map_or(view.last_index + 1, |first| first.index);
        let committed = self.committed.get(&view.group)?.range(first..);
        // Both go up by one.
        let mut log = entries.iter();
        for (index, (entry, by)) in committed {
            let here = log.find(|here| here.index >= *index);
            if *by <= view.term && here != Some(entry) {
                return Some(format!(
                    "replica {} leads group {} in term {} with {here:?}, where {entry:?} was committed in term {by}",
                    view.replica, view.group, view.term
                ));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::replica, *};

    fn rule() -> LeaderCompleteness {
        let mut rule = LeaderCompleteness::default();
        let (view, entries) = replica(1, 2, true, 2, &[1, 1, 2, 2]);
        rule.committed(&view, &entries);
        rule
    }

    fn elected(rule: &LeaderCompleteness, term: u64, terms: &[u64]) -> bool {
        let (view, entries) = replica(2, term, true, 0, terms);
        rule.elected(&view, &entries).is_none()
    }

    #[test]
    fn a_leader_has_what_was_committed_and_what_it_likes_behind_it() {
        assert!(elected(&rule(), 3, &[1, 1, 2]));
        assert!(elected(&rule(), 3, &[1, 1, 2, 2]));
        assert!(elected(&rule(), 4, &[1, 1, 2, 4]));
        let (view, entries) = replica(2, 3, true, 3, &[1, 1, 2, 2]);
        assert_eq!(rule().elected(&view, &entries[3..]), None, "the first three are in its snapshot");
    }

    #[test]
    fn a_leader_that_lacks_what_was_committed_is_found() {
        assert!(!elected(&rule(), 3, &[1, 1]));
        assert!(!elected(&rule(), 3, &[1, 1, 3]));
    }

    #[test]
    fn an_old_leader_need_not_have_what_later_ones_committed() {
        assert!(elected(&rule(), 1, &[1, 1]));
    }
}
