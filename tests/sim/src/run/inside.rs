//! What must hold between the replicas of a group, judged by what was seen of each.

use std::collections::{BTreeMap, BTreeSet};

use kahuna_protocol::{GroupId, ReplicaId};

use crate::finding::{Finding, Judge};

/// What was seen of all groups so far.
#[derive(Debug, Default)]
pub struct Inside {
    /// By group and term: who led.
    leaders: BTreeMap<(GroupId, u64), ReplicaId>,
    /// By group and last applied entry: the hash of the state, and who had it.
    states: BTreeMap<(GroupId, u64), (u64, BTreeSet<ReplicaId>)>,
    findings: Vec<Finding>,
}

impl Inside {
    /// `replica` was seen to lead `group` in `term`: no other replica may lead in that term.
    pub fn leads(&mut self, group: GroupId, term: u64, replica: ReplicaId) {
        let leader = *self.leaders.entry((group, term)).or_insert(replica);
        if leader != replica {
            self.find(
                Judge::Leaders,
                format!("replicas {leader} and {replica} both lead group {group} in term {term}"),
            );
        }
    }

    /// `replica` trusts its lease in `term`; `latest` is the latest term with a leader.
    pub fn trusts_its_lease(&mut self, group: GroupId, replica: ReplicaId, term: u64, latest: u64) {
        if term < latest {
            let text =
                format!("replica {replica} of group {group} trusts its lease of term {term}, and {latest} is led");
            self.find(Judge::Lease, text);
        }
    }

    /// `replica` was seen to have applied `group`'s entries up to `index`, and its state to hash to `hash`: so must every
    /// other's there, and its own after a restart.
    pub fn applied(&mut self, group: GroupId, index: u64, replica: ReplicaId, hash: u64) {
        let (known, who) = self.states.entry((group, index)).or_insert((hash, BTreeSet::new()));
        let known = *known;
        if known != hash {
            let text = format!(
                "replica {replica} of group {group} has another state at index {index} than {who:?}: {hash:016x}, not \
                 {known:016x}"
            );
            return self.find(Judge::States, text);
        }
        who.insert(replica);
    }

    /// `replica` runs, and its log was lost: it has forgotten what it voted and acknowledged.
    pub fn runs_again(&mut self, group: GroupId, replica: ReplicaId) {
        self.find(Judge::Lost, format!("replica {replica} of group {group} runs again, and its log was lost"));
    }

    /// Records a finding once, however often it was seen.
    fn find(&mut self, judge: Judge, text: String) {
        let finding = Finding::new(judge, text);
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    pub fn findings(&self) -> Vec<Finding> {
        self.findings.clone()
    }

    /// Pairs of a group and a term that had a leader.
    pub fn terms(&self) -> u64 {
        self.leaders.len() as u64
    }

    /// States that were seen on more than one replica.
    pub fn equal_states(&self) -> u64 {
        self.states.values().filter(|(_, who)| who.len() > 1).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(1);
    const OTHER: GroupId = GroupId(2);

    fn judges(inside: &Inside) -> Vec<Judge> {
        inside.findings().into_iter().map(|finding| finding.judge).collect()
    }

    #[test]
    fn a_group_has_one_leader_per_term() {
        let mut inside = Inside::default();
        inside.leads(GROUP, 1, ReplicaId(1));
        inside.leads(GROUP, 1, ReplicaId(1));
        inside.leads(GROUP, 2, ReplicaId(2));
        inside.leads(OTHER, 1, ReplicaId(3));
        assert_eq!((judges(&inside), inside.terms()), (vec![], 3));
        // Long after another term began.
        inside.leads(GROUP, 1, ReplicaId(2));
        inside.leads(GROUP, 1, ReplicaId(2));
        assert_eq!((judges(&inside), inside.terms()), (vec![Judge::Leaders], 3));
    }

    #[test]
    fn a_group_has_one_state_per_index() {
        let mut inside = Inside::default();
        inside.applied(GROUP, 7, ReplicaId(1), 70);
        inside.applied(GROUP, 7, ReplicaId(2), 70);
        inside.applied(GROUP, 8, ReplicaId(2), 80);
        inside.applied(OTHER, 7, ReplicaId(3), 71);
        assert_eq!((judges(&inside), inside.equal_states()), (vec![], 1));
        inside.applied(GROUP, 7, ReplicaId(3), 71);
        assert_eq!((judges(&inside), inside.equal_states()), (vec![Judge::States], 1));
    }

    #[test]
    fn a_replica_whose_log_was_lost_stays_away() {
        let mut inside = Inside::default();
        inside.runs_again(GROUP, ReplicaId(1));
        inside.runs_again(GROUP, ReplicaId(1));
        assert_eq!(judges(&inside), [Judge::Lost]);
    }

    #[test]
    fn a_replica_comes_back_with_the_state_that_it_had() {
        let mut inside = Inside::default();
        inside.applied(GROUP, 7, ReplicaId(1), 70);
        inside.applied(GROUP, 7, ReplicaId(1), 71);
        assert_eq!(judges(&inside), [Judge::States]);
    }
}
