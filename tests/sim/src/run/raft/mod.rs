//! Raft's own safety properties, each in a file of its own, judged by what is seen of the replicas' logs.
//!
//! | property of the Raft paper | judged in |
//! |---|---|
//! | election safety | `run/inside.rs` |
//! | leader append-only | `append_only.rs` |
//! | log matching | `matching.rs` |
//! | leader completeness | `completeness.rs` |
//! | state machine safety | `applied.rs`; the states themselves in `run/inside.rs` |
//!
//! A log is read from the last entry that was seen applied there: what stands before it was read already.

mod append_only;
mod applied;
mod completeness;
mod matching;

use std::collections::BTreeMap;

use kahuna_protocol::ReplicaId;

use self::{
    append_only::LeaderAppendOnly, applied::StateMachineSafety, completeness::LeaderCompleteness, matching::LogMatching,
};
use crate::{
    cluster::{GroupView, LogEntry},
    finding::{Finding, Judge},
};

/// Everything that was seen of the logs of a cluster.
#[derive(Debug, Default)]
pub struct Logs {
    matching: LogMatching,
    append_only: LeaderAppendOnly,
    completeness: LeaderCompleteness,
    applied: StateMachineSafety,
    last: BTreeMap<ReplicaId, GroupView>,
    findings: Vec<Finding>,
}

impl Logs {
    /// Looks at one replica; `log` gives its entries from an index on, as far as it has them.
    pub fn look(&mut self, view: &GroupView, log: impl Fn(u64) -> Vec<LogEntry>) {
        let before = self.last.insert(view.replica, *view);
        if before == Some(*view) {
            return;
        }
        let fresh_leader = view.leading && !before.is_some_and(|before| before.leading && before.term == view.term);
        let from = before.filter(|_| !fresh_leader).map_or(0, |before| before.applied_index);
        let mut entries = log(from);
        let in_place =
            entries.first().is_some_and(|first| first.index == from && self.applied.is_known(view.group, first));
        if from > 0 && !in_place {
            entries = log(0);
        }
        if entries.last().is_some_and(|last| last.term > view.term) {
            // The log is ahead of the replica's metrics: the next look finds both.
            self.last.remove(&view.replica);
            return;
        }
        let judged = [
            (Judge::LogMatching, self.matching.see(view, &entries)),
            (Judge::StateMachineSafety, self.applied.see(view, &entries)),
            (Judge::LeaderAppendOnly, self.append_only.see(view, &entries)),
            (Judge::LeaderCompleteness, fresh_leader.then(|| self.completeness.elected(view, &entries)).flatten()),
        ];
        self.completeness.committed(view, &entries);
        if self.append_only.suspects(view.replica) {
            // An unchanged replica must be looked at again too.
            self.last.remove(&view.replica);
        }
        for (judge, text) in judged {
            self.findings.extend(text.map(|text| Finding::new(judge, text)));
        }
    }

    /// What broke a property.
    pub fn findings(&self) -> Vec<Finding> {
        self.findings.clone()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use kahuna_protocol::GroupId;

    use super::{append_only::LOOKS, *};

    /// A replica with a log of these terms from index 0 on, and this many entries applied.
    pub(in crate::run) fn replica(
        number: u64,
        term: u64,
        leading: bool,
        applied: u64,
        log: &[u64],
    ) -> (GroupView, Vec<LogEntry>) {
        let entries: Vec<LogEntry> =
            (0..).zip(log).map(|(index, &term)| LogEntry { index, term, digest: 100 * term + index }).collect();
        let view = GroupView {
            group: GroupId(1),
            replica: ReplicaId(number),
            term,
            leading,
            last_index: entries.last().map_or(0, |last| last.index),
            applied_index: applied,
            snapshot_index: 0,
            first_index: 0,
        };
        (view, entries)
    }

    /// Who finds something in these sights of replicas.
    pub(in crate::run) fn judges(sights: &[(GroupView, Vec<LogEntry>)]) -> Vec<Judge> {
        let mut logs = Logs::default();
        for (view, entries) in sights {
            logs.look(view, |from| entries.iter().filter(|entry| entry.index >= from).copied().collect());
        }
        logs.findings().into_iter().map(|finding| finding.judge).collect()
    }

    /// Claim: what Raft does is found right: replication, an overwritten tail, a new leader, a snapshot in place of a log.
    #[test]
    fn a_life_of_a_group_breaks_nothing() {
        let mut caught_up = replica(3, 3, false, 3, &[1, 1, 3, 3]);
        caught_up.1.drain(..3);
        caught_up.0.first_index = 3;
        let sights = [
            replica(1, 1, true, 0, &[1]),
            replica(2, 1, false, 0, &[1]),
            replica(1, 1, true, 1, &[1, 1, 1]),
            replica(2, 1, false, 1, &[1, 1]),
            replica(2, 3, true, 1, &[1, 1, 3]),
            replica(1, 3, false, 1, &[1, 1, 3]),
            replica(2, 3, true, 3, &[1, 1, 3, 3]),
            replica(1, 3, false, 3, &[1, 1, 3, 3]),
            caught_up,
        ];
        assert_eq!(judges(&sights), []);
    }

    #[test]
    fn each_property_has_its_judge() {
        let lacks_what_is_committed = [replica(1, 1, true, 2, &[1, 1, 1]), replica(2, 2, true, 0, &[1, 1, 2])];
        assert_eq!(judges(&lacks_what_is_committed), [Judge::LeaderCompleteness]);
        let shrunk = replica(1, 1, true, 0, &[1, 1]);
        let shrinks = [vec![replica(1, 1, true, 0, &[1, 1, 1])], vec![shrunk; LOOKS]].concat();
        assert_eq!(judges(&shrinks), [Judge::LeaderAppendOnly]);
        assert_eq!(judges(&shrinks[..LOOKS]), [], "it may have lost its leadership since");
        let (view, mut entries) = replica(2, 1, false, 0, &[1, 1, 1]);
        entries[2].digest += 1;
        assert_eq!(judges(&[replica(1, 1, true, 0, &[1, 1, 1]), (view, entries)]), [Judge::LogMatching]);
        let applies_another = [replica(1, 1, false, 1, &[1, 1]), replica(2, 2, false, 1, &[1, 2])];
        assert_eq!(judges(&applies_another), [Judge::StateMachineSafety]);
    }

    /// Claim: an applied entry that changes is noticed, although logs are not read from their beginning every time.
    #[test]
    fn an_applied_entry_that_changes_is_noticed() {
        let sights = [replica(1, 1, false, 2, &[1, 1, 1]), replica(1, 2, false, 2, &[1, 1, 2])];
        assert_eq!(judges(&sights), [Judge::StateMachineSafety]);
    }
}
