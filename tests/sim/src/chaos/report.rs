//! The report of a run.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{HostFault, Plan, Profile, nemesis::Episode};
use crate::{
    check::{Counts, Report, Verdict},
    finding::Finding,
};

/// Findings that are kept; the rest is counted. One cause shows itself many times.
const MOST_FINDINGS: usize = 50;
/// Answers below which a run proves nothing.
const MIN_ACKS: u64 = 200;
/// Faults below which a run proves nothing.
const MIN_FAULTS: u64 = 3;
/// Kinds of faults below which a run proves little.
const MIN_KINDS: usize = 3;

/// One run and its verdict.
#[derive(Debug, Clone, Serialize)]
pub struct ChaosReport {
    /// What faults and requests were drawn from.
    pub seed: u64,
    /// Clients and pace.
    pub profile: Profile,
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Client processes.
    pub clients: u64,
    /// Verdict of the checker on the whole history.
    pub outcome: Verdict,
    /// Operations that were answered.
    pub acks: u64,
    /// Operations of unknown outcome.
    pub unknown: u64,
    /// Operations that were refused for good.
    pub failed: u64,
    /// Requests that were sent to two nodes and answered by both.
    pub duplicates: u64,
    /// Keys that were seen to have ended by themselves.
    pub ended_keys: u64,
    /// Scans of several pages with a write between them.
    pub scans: u64,
    /// Reads of the past of keys that were answered.
    pub reads_back: u64,
    /// Writes that were refused for their token.
    pub fenced_writes: u64,
    /// Reads that showed what several appends left.
    pub appended_values: u64,
    /// Answers that a key exists.
    pub existences: u64,
    /// Times that the cluster was whole and had to answer everything.
    pub rounds: u64,
    /// Operations of which an answer was demanded then.
    pub demanded: u64,
    /// Reports of nodes that their disk is full.
    pub full_disks: u64,
    /// Writes that were refused for want of room, of those that make the logs of full disks longer.
    pub refused_for_room: u64,
    /// Periods of full disks that did not show: no node reported it, or with all disks full no write was refused.
    pub full_unnoticed: u64,
    /// Packets that went over slow or lossy wires.
    pub murky_packets: u64,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// How long it took, the judging included, in milliseconds.
    pub elapsed_ms: u64,
    /// What the history holds and what its search cost.
    pub counts: Counts,
    /// What must not be and was.
    pub problems: Vec<String>,
    /// What is missing for a verdict.
    pub shortfalls: Vec<String>,
}

impl ChaosReport {
    pub(super) fn new(plan: &Plan, episodes: &[Episode]) -> Self {
        let temper = plan.profile.temper();
        let mut faults = BTreeMap::new();
        for episode in episodes {
            *faults.entry(episode.fault.name()).or_default() += 1;
        }
        Self {
            seed: plan.seed,
            profile: plan.profile,
            nodes: plan.nodes,
            clients: temper.clients_per_group * temper.groups,
            outcome: Verdict::Unknown,
            acks: 0,
            unknown: 0,
            failed: 0,
            duplicates: 0,
            ended_keys: 0,
            scans: 0,
            reads_back: 0,
            fenced_writes: 0,
            appended_values: 0,
            existences: 0,
            rounds: 0,
            demanded: 0,
            full_disks: 0,
            refused_for_room: 0,
            full_unnoticed: 0,
            murky_packets: 0,
            faults,
            elapsed_ms: 0,
            counts: Counts::default(),
            problems: Vec::new(),
            shortfalls: Vec::new(),
        }
    }

    /// Takes over what was found while the run went on and in its books.
    pub(super) fn note(&mut self, findings: &[Finding]) {
        self.problems.extend(findings.iter().take(MOST_FINDINGS).map(ToString::to_string));
        if let Some(more @ 1..) = findings.len().checked_sub(MOST_FINDINGS) {
            self.problems.push(format!("and {more} more problems"));
        }
    }

    /// Takes the checker's findings over and sets the verdict.
    pub(super) fn judge(&mut self, report: &Report) {
        self.counts = report.counts.clone();
        (self.acks, self.unknown, self.failed) = (report.counts.ok, report.counts.unknown, report.counts.failed);
        let problems = report.problems.iter();
        self.problems.extend(problems.map(|it| format!("{} {:?}: {}", it.kind, it.name, it.text)));
        self.shortfalls.extend(report.shortfalls.clone());
        let mut at_least = |name: &str, seen: u64, least: u64| {
            if seen < least {
                self.shortfalls.push(format!("{name}: {seen}, and {least} are asked for"));
            }
        };
        at_least("acks", self.acks, MIN_ACKS);
        at_least("faults", self.faults.values().sum(), MIN_FAULTS);
        at_least("kinds of faults", self.faults.len() as u64, MIN_KINDS as u64);
        at_least("rounds", self.rounds, 1);
        at_least("requests answered twice", self.duplicates, 1);
        at_least("keys that ended", self.ended_keys, 1);
        at_least("scans while the bucket was written", self.scans, 1);
        at_least("reads of the past", self.reads_back, 1);
        at_least("writes refused for their token", self.fenced_writes, 1);
        at_least("reads of several appends", self.appended_values, 1);
        at_least("answers that a key exists", self.existences, 1);
        at_least("operations while the cluster was whole", self.demanded, 1);
        if self.full_unnoticed > 0 {
            self.shortfalls.push(format!("full disks that did not show: {}", self.full_unnoticed));
        }
        self.outcome = match (self.problems.is_empty(), self.shortfalls.is_empty()) {
            (false, _) => Verdict::Invalid,
            (true, false) => Verdict::Unknown,
            (true, true) => Verdict::Valid,
        };
    }

    /// Kinds of faults that did not happen.
    pub fn never(&self) -> Vec<String> {
        let kinds = HostFault::ALL.iter().filter(|(fault, _)| fault.fits(self.nodes)).map(|(fault, _)| fault.name());
        kinds.filter(|name| !self.faults.contains_key(name)).collect()
    }
}
