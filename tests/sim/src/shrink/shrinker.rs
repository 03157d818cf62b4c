//! What is left out of a run, in which order, and whether the rest still fails.

use std::collections::BTreeSet;

use super::{minimise, trial::Trial};
use crate::{claims::Workload, finding::Judge, nemesis::Struck, run::RunReport};

/// What came of a trial: its report, or nothing when the process ended without one.
pub type Ended = Option<RunReport>;

/// Smallest trial that was found to fail.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// What is left.
    pub trial: Trial,
    /// What it came to.
    pub ended: Ended,
    /// The judge whose finding it still has.
    pub judge: Judge,
    /// How many runs it took.
    pub runs: u64,
}

/// Shrinks the run of `trial`; `None` if it does not fail. `run` carries a trial out.
pub fn shrink(trial: Trial, run: impl FnMut(&Trial) -> Ended) -> Option<Shrunk> {
    let mut run = run;
    let ended = run(&trial);
    let judge = *judges(&ended).first()?;
    let mut shrinker = Shrinker { best: trial, ended, judge, run, runs: 1, passed: Vec::new() };
    shrinker.shorten();
    shrinker.drop_faults();
    shrinker.drop_clients();
    shrinker.drop_workloads();
    shrinker.shorten();
    let Shrinker { best, ended, judge, runs, .. } = shrinker;
    Some(Shrunk { trial: best, ended, judge, runs })
}

/// Who found something, in the order of the report.
pub(crate) fn judges(ended: &Ended) -> Vec<Judge> {
    match ended {
        Some(report) => report.problems.iter().map(|problem| problem.judge).collect(),
        None => vec![Judge::Panic],
    }
}

struct Shrinker<R> {
    /// The smallest trial so far that fails, and what came of it.
    best: Trial,
    ended: Ended,
    judge: Judge,
    run: R,
    runs: u64,
    /// What need not be tried again.
    passed: Vec<Trial>,
}

impl<R: FnMut(&Trial) -> Ended> Shrinker<R> {
    /// Whether `trial` still fails in the same way; it is the best one then.
    fn fails(&mut self, trial: Trial) -> bool {
        if self.passed.contains(&trial) {
            return false;
        }
        self.runs += 1;
        let ended = (self.run)(&trial);
        let fails = judges(&ended).contains(&self.judge);
        if fails {
            (self.best, self.ended) = (trial, ended);
        } else {
            self.passed.push(trial);
        }
        fails
    }

    /// Looks for the shortest time of a growing series.
    fn shorten(&mut self) {
        let (mut seconds, mut next) = (1, 2);
        while seconds < self.best.seconds {
            if self.fails(Trial { seconds, ..self.best.clone() }) {
                return;
            }
            (seconds, next) = (next, seconds + next);
        }
    }

    fn drop_faults(&mut self) {
        // A process without a report does not say which faults there were.
        let Some(report) = &self.ended else { return };
        let struck: Vec<u64> = report.struck.iter().map(|Struck { number, .. }| *number).collect();
        let with = |best: &Trial, faults: &[u64]| Trial { faults: Some(set(faults)), ..best.clone() };
        // Without any at all, first: a bug that needs none is the easiest to study.
        if self.fails(with(&self.best, &[])) {
            return;
        }
        minimise(struck, |faults| self.fails(with(&self.best, faults)));
    }

    fn drop_clients(&mut self) {
        let all = self.best.all_clients();
        minimise(all, |clients| self.fails(Trial { clients: Some(set(clients)), ..self.best.clone() }));
    }

    fn drop_workloads(&mut self) {
        minimise(Workload::all().collect(), |workloads| {
            self.fails(Trial { workloads: Some(set(workloads)), ..self.best.clone() })
        });
    }
}

fn set<T: Copy + Ord>(items: &[T]) -> BTreeSet<T> {
    items.iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{finding::Finding, nemesis::SimFault};

    /// A run in which each of twenty faults happens half a second after the other.
    fn report(trial: &Trial, problems: Vec<Finding>) -> Ended {
        let struck = (1..=20)
            .filter(|number| trial.faults.as_ref().is_none_or(|faults| faults.contains(number)))
            .map(|number| Struck { number, fault: SimFault::Kill, at_ms: 500 * number, for_ms: 100 })
            .filter(|struck| struck.at_ms < 1_000 * trial.seconds);
        Some(RunReport { struck: struck.collect(), problems, ..RunReport::default() })
    }

    fn has_faults(trial: &Trial, wanted: &[u64]) -> bool {
        let Some(report) = report(trial, Vec::new()) else { return false };
        wanted.iter().all(|number| report.struck.iter().any(|struck| struck.number == *number))
    }

    fn has_client(trial: &Trial, client: u64) -> bool {
        trial.clients.as_ref().is_none_or(|clients| clients.contains(&client))
    }

    fn has_workload(trial: &Trial, workload: Workload) -> bool {
        trial.workloads.as_ref().is_none_or(|workloads| workloads.contains(&workload))
    }

    #[test]
    fn what_is_needed_is_left() {
        let run = |trial: &Trial| {
            let fails = has_faults(trial, &[3, 7]) && has_client(trial, 2) && has_workload(trial, Workload::Locks);
            report(trial, fails.then(|| Finding::new(Judge::Lock, "broken")).into_iter().collect())
        };
        let shrunk = shrink(Trial::whole(1, 20), run).expect("it fails");
        assert_eq!(shrunk.judge, Judge::Lock);
        assert_eq!(shrunk.trial.faults, Some([3, 7].into()));
        assert_eq!(shrunk.trial.clients, Some([2].into()));
        assert_eq!(shrunk.trial.workloads, Some([Workload::Locks].into()));
        assert_eq!(shrunk.trial.seconds, 5, "the seventh fault happens after three and a half");
        assert!(shrunk.runs < 80, "{} runs", shrunk.runs);
    }

    #[test]
    fn another_breach_does_not_count() {
        let run = |trial: &Trial| {
            let judge = if has_faults(trial, &[5]) { Judge::States } else { Judge::Liveness };
            report(trial, vec![Finding::new(judge, "broken")])
        };
        let shrunk = shrink(Trial::whole(1, 8), run).expect("it fails");
        assert_eq!((shrunk.judge, shrunk.trial.faults), (Judge::States, Some([5].into())));
    }

    #[test]
    fn a_process_that_dies_is_shrunk_as_well() {
        let run = |trial: &Trial| if has_client(trial, 0) { None } else { report(trial, Vec::new()) };
        let shrunk = shrink(Trial::whole(1, 20), run).expect("it dies");
        assert_eq!((shrunk.judge, shrunk.trial.seconds), (Judge::Panic, 1));
        assert_eq!(shrunk.trial.clients, Some([0].into()));
    }

    #[test]
    fn a_run_that_does_not_fail_is_not_shrunk() {
        assert!(shrink(Trial::whole(1, 20), |trial| report(trial, Vec::new())).is_none());
    }
}
