//! One attempt: a seed and what is left of its run, as arguments of the command line.

use std::{collections::BTreeSet, time::Duration};

use crate::{claims::Workload, run::Plan};

/// A run, whole or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Everything follows from it.
    pub seed: u64,
    /// How long faults happen, in seconds of virtual time.
    pub seconds: u64,
    /// The numbers of the faults that happen; all if absent.
    pub faults: Option<BTreeSet<u64>>,
    /// The clients that there are; all if absent.
    pub clients: Option<BTreeSet<u64>>,
    /// What they do; everything if absent.
    pub workloads: Option<BTreeSet<Workload>>,
    /// Arguments that are passed on as they are.
    pub others: Vec<String>,
}

impl Trial {
    /// The whole run of `seed`.
    pub fn whole(seed: u64, seconds: u64) -> Self {
        Self { seed, seconds, faults: None, clients: None, workloads: None, others: Vec::new() }
    }

    /// The plan of this run.
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::new(self.seed, Duration::from_secs(self.seconds));
        plan.only_faults = self.faults.clone();
        plan.only_clients = self.clients.clone();
        plan.only_workloads = self.workloads.clone();
        plan
    }

    /// The clients that there are.
    pub(super) fn all_clients(&self) -> Vec<u64> {
        self.clients.clone().map_or_else(|| (0..self.plan().clients).collect(), |clients| clients.into_iter().collect())
    }

    /// What to say to `kahuna-sim`.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["--seed", &self.seed.to_string(), "--seconds", &self.seconds.to_string()].map(str::to_owned).into();
        let mut only = |flag: &str, items: Option<Vec<String>>| {
            arguments.extend(items.map(|items| format!("--only-{flag}={}", items.join(","))));
        };
        let numbers = |set: &BTreeSet<u64>| set.iter().map(u64::to_string).collect();
        only("faults", self.faults.as_ref().map(numbers));
        only("clients", self.clients.as_ref().map(numbers));
        only("workloads", self.workloads.as_ref().map(|set| set.iter().map(|it| it.name()).collect()));
        arguments.extend(self.others.iter().cloned());
        arguments
    }

    /// The command that repeats it.
    pub fn command(&self) -> String {
        format!("cargo run --release -p kahuna-sim -- {}", self.arguments().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_said_in_arguments() {
        assert_eq!(Trial::whole(7, 20).arguments(), ["--seed", "7", "--seconds", "20"]);
        let trial = Trial {
            faults: Some([3, 5].into()),
            clients: Some([0].into()),
            workloads: Some([Workload::Keys, Workload::Locks].into()),
            ..Trial::whole(7, 2)
        };
        let command = "cargo run --release -p kahuna-sim -- --seed 7 --seconds 2 --only-faults=3,5 --only-clients=0 \
                       --only-workloads=keys,locks";
        assert_eq!(trial.command(), command);
        let without_faults = Trial { faults: Some([].into()), ..Trial::whole(7, 2) };
        assert_eq!(without_faults.arguments().last().map(String::as_str), Some("--only-faults="));
    }
}
