//! Leader append-only: "a leader never overwrites or deletes entries in its log; it only appends new entries."

use std::collections::BTreeMap;

use kahuna_protocol::{GroupId, ReplicaId};

use crate::cluster::{GroupView, LogEntry};

/// So many looks in a row, a second or more, find a leader's last entry missing before it is to blame. What a replica says of
/// its leadership is older than its log, which the next leader may have truncated: by what its disk takes for the new vote, the
/// truncation and the new entries.
pub(super) const LOOKS: usize = 100;

/// The ends of the logs of leaders.
#[derive(Debug, Default)]
pub(super) struct LeaderAppendOnly {
    /// By replica that leads: its group, the term in which it leads, and the last entry of its log.
    ends: BTreeMap<ReplicaId, (GroupId, u64, LogEntry)>,
    /// Those whose last entry was missing at the last look, and at how many looks in a row.
    suspects: BTreeMap<ReplicaId, usize>,
}

impl LeaderAppendOnly {
    /// Whether the next looks at a replica decide.
    pub(super) fn suspects(&self, replica: ReplicaId) -> bool {
        self.suspects.contains_key(&replica)
    }

    /// Takes down the end of a leader's log, which `entries` show; what is not there any more, if anything.
    pub(super) fn see(&mut self, view: &GroupView, entries: &[LogEntry]) -> Option<String> {
        let before = self.ends.remove(&view.replica);
        let suspected = self.suspects.remove(&view.replica).unwrap_or(0);
        let last = entries.last().filter(|_| view.leading)?;
        let same = before.filter(|(group, term, _)| (*group, *term) == (view.group, view.term));
        let is_kept =
            |end: &LogEntry| entries.contains(end) || entries.first().is_some_and(|first| first.index > end.index);
        let missing = same.filter(|(_, _, end)| !is_kept(end));
        self.ends.insert(view.replica, missing.unwrap_or((view.group, view.term, *last)));
        let (_, _, end) = missing?;
        self.suspects.insert(view.replica, suspected + 1);
        (suspected + 1 == LOOKS).then(|| {
            let (replica, group, term) = (view.replica, view.group, view.term);
            format!("replica {replica} leads group {group} in term {term}, and its {end:?} is gone; its log ends with {last:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::replica, *};

    fn see(rule: &mut LeaderAppendOnly, number: u64, term: u64, leading: bool, terms: &[u64]) -> bool {
        let (view, entries) = replica(number, term, leading, 0, terms);
        rule.see(&view, &entries).is_none()
    }

    #[test]
    fn a_leader_appends() {
        let mut rule = LeaderAppendOnly::default();
        assert!(see(&mut rule, 1, 2, true, &[1, 2]));
        assert!(see(&mut rule, 1, 2, true, &[1, 2, 2, 2]));
        let (view, entries) = replica(1, 2, true, 5, &[1, 2, 2, 2, 2, 2]);
        assert_eq!(rule.see(&view, &entries[5..]), None, "it may forget what is in a snapshot");
    }

    #[test]
    fn a_leader_neither_deletes_nor_overwrites() {
        for (number, term, before, after) in
            [(1, 2, [1, 2, 2].as_slice(), [1, 2].as_slice()), (2, 3, &[1, 2, 3], &[1, 2, 2, 3])]
        {
            let mut rule = LeaderAppendOnly::default();
            assert!(see(&mut rule, number, term, true, before));
            for _ in 1..LOOKS {
                assert!(see(&mut rule, number, term, true, after), "it may have lost its leadership since");
            }
            assert!(!see(&mut rule, number, term, true, after));
        }
    }

    #[test]
    fn a_log_that_was_truncated_before_its_replica_says_that_it_follows_is_sound() {
        let mut rule = LeaderAppendOnly::default();
        assert!(see(&mut rule, 1, 2, true, &[1, 2, 2]));
        for _ in 0..2 {
            (1..LOOKS).for_each(|_| assert!(see(&mut rule, 1, 2, true, &[1, 2])));
            assert!(see(&mut rule, 1, 3, false, &[1, 2, 3]));
            assert!(see(&mut rule, 1, 2, true, &[1, 2, 2]));
        }
    }

    #[test]
    fn a_follower_may() {
        let mut rule = LeaderAppendOnly::default();
        assert!(see(&mut rule, 1, 2, true, &[1, 2, 2]));
        assert!(see(&mut rule, 1, 3, false, &[1, 3]));
        assert!(see(&mut rule, 1, 4, true, &[1, 3, 4]), "it leads in another term");
    }
}
