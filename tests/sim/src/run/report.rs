//! The report of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    check::{Counts, Problem, Report, Verdict},
    finding::{Finding, Judge},
    nemesis::Struck,
};

/// Answers below which a run proves nothing.
const MIN_ACKS: u64 = 200;
/// Faults below which a run proves nothing.
const MIN_FAULTS: u64 = 3;

/// One run and its verdict.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RunReport {
    /// What it began with.
    pub seed: u64,
    /// Verdict of the checker on the whole history.
    pub outcome: Verdict,
    /// A hash over everything that happened, in hex: equal for equal runs.
    pub trace: String,
    /// Nodes of the cluster.
    pub nodes: u64,
    /// Data groups.
    pub partitions: u32,
    /// Operations that were answered.
    pub acks: u64,
    /// Operations of unknown outcome.
    pub unknown: u64,
    /// Operations that were refused for good.
    pub failed: u64,
    /// Requests that were sent twice and answered twice.
    pub duplicates: u64,
    /// Pairs of a group and a term in which some replica led.
    pub terms: u64,
    /// Snapshots that were taken or received.
    pub snapshots: u64,
    /// Snapshots that brought entries that the replica had not applied: they came from another node.
    pub installs: u64,
    /// Times that two replicas were seen with the same entries applied and the same state.
    pub equal_states: u64,
    /// Keys with a time to live that were seen to have ended.
    pub ended_keys: u64,
    /// Scans of several pages while the bucket was written.
    pub scans: u64,
    /// Reads of the past of keys that were answered.
    pub reads_back: u64,
    /// Writes that were refused because they carried another token than that of the lock.
    pub fenced_writes: u64,
    /// Reads that showed what several appends left.
    pub appended_values: u64,
    /// Answers that a key exists.
    pub existences: u64,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// The same, one by one.
    pub struck: Vec<Struck>,
    /// Virtual time, in milliseconds.
    pub virtual_ms: u64,
    /// What it took, in milliseconds.
    pub elapsed_ms: u64,
    /// What must not be and was.
    pub problems: Vec<Finding>,
    /// What is missing for a verdict.
    pub shortfalls: Vec<String>,
}

impl RunReport {
    /// Takes the checker's findings over and sets the verdict.
    pub(super) fn judge(&mut self, report: &Report, struck: Vec<Struck>) {
        let Counts { ok, unknown, failed, .. } = report.counts;
        (self.acks, self.unknown, self.failed) = (ok, unknown, failed);
        for struck in &struck {
            *self.faults.entry(struck.fault.name()).or_default() += 1;
        }
        self.struck = struck;
        self.problems.extend(report.problems.iter().map(finding));
        self.shortfalls.extend(report.shortfalls.clone());
        let faults = self.struck.len() as u64;
        let mut at_least = |name: &str, seen: u64, least: u64| {
            if seen < least {
                self.shortfalls.push(format!("{name}: {seen}, and {least} are asked for"));
            }
        };
        at_least("acks", ok, MIN_ACKS);
        at_least("faults", faults, MIN_FAULTS);
        at_least("snapshots", self.snapshots, 1);
        at_least("terms", self.terms, 2);
        at_least("equal states", self.equal_states, 1);
        self.outcome = match (self.problems.is_empty(), self.shortfalls.is_empty()) {
            (false, _) => Verdict::Invalid,
            (true, false) => Verdict::Unknown,
            (true, true) => Verdict::Valid,
        };
    }
}

/// What the checker of histories has found.
pub(super) fn finding(problem: &Problem) -> Finding {
    Finding::new(judge_of(problem.kind), format!("{:?}: {}", problem.name, problem.text))
}

/// Whose findings the checker of histories reports under that kind.
fn judge_of(kind: &str) -> Judge {
    match kind {
        "key" => Judge::Key,
        "lock" => Judge::Lock,
        _ => Judge::Sequence,
    }
}
