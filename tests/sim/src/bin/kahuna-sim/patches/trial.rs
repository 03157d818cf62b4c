//! Seeds over one build: is somebody's finding among theirs?

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use kahuna_sim::{
    check::Verdict,
    finding::{Finding, Judge},
};
use serde::Serialize;

use crate::many::run_process;

/// Which seeds to run, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seeds {
    pub(crate) from: u64,
    pub(crate) count: u64,
    pub(crate) seconds: u64,
    pub(crate) jobs: usize,
    /// Run them all, also when one was caught.
    pub(crate) all: bool,
}

/// A seed whose run was found to be wrong.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Catch {
    pub(crate) seed: u64,
    pub(crate) judge: Judge,
    pub(crate) text: String,
}

/// What the seeds of one build came to.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Trial {
    /// Seeds that ran.
    pub(crate) seeds: u64,
    /// Those in which one of the judges asked for found something, rising.
    pub(crate) caught: Vec<u64>,
    /// Those that no judge had anything to say about.
    pub(crate) valid: u64,
    /// In how many seeds each judge found something.
    pub(crate) by: BTreeMap<Judge, u64>,
    /// The lowest seed that was caught.
    pub(crate) first: Option<Catch>,
}

impl Trial {
    /// Runs seeds with `program` until one of `judges` finds something, or all of them.
    pub(crate) fn run(program: &Path, judges: &[Judge], seeds: Seeds) -> Self {
        let trial = Mutex::new(Self::default());
        let (next, over) = (AtomicU64::new(seeds.from), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..seeds.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds.from + seeds.count || over.load(Ordering::Relaxed) {
                            return;
                        }
                        let (verdict, findings) = run_seed(program, seed, seeds.seconds);
                        let caught = trial.lock().expect("no thread panics").add(seed, verdict, &findings, judges);
                        if caught && !seeds.all {
                            over.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let mut trial = trial.into_inner().expect("no thread panics");
        trial.caught.sort_unstable();
        trial
    }

    /// Takes a run in; whether it was caught.
    fn add(&mut self, seed: u64, verdict: Verdict, findings: &[Finding], judges: &[Judge]) -> bool {
        self.seeds += 1;
        self.valid += u64::from(verdict == Verdict::Valid);
        let mut by: Vec<Judge> = findings.iter().map(|finding| finding.judge).collect();
        by.sort_unstable();
        by.dedup();
        for judge in by {
            *self.by.entry(judge).or_default() += 1;
        }
        let Some(finding) = findings.iter().find(|finding| judges.contains(&finding.judge)) else { return false };
        self.caught.push(seed);
        if self.first.as_ref().is_none_or(|first| seed < first.seed) {
            self.first = Some(Catch { seed, judge: finding.judge, text: finding.text.clone() });
        }
        true
    }
}

/// One seed, in a process of its own. One that panics has one finding: that.
fn run_seed(program: &Path, seed: u64, seconds: u64) -> (Verdict, Vec<Finding>) {
    match run_process(program, seed, seconds) {
        Ok(report) => (report.outcome, report.problems),
        Err(said) => (Verdict::Invalid, vec![Finding::new(Judge::Panic, said)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_judge_that_is_asked_for_counts() {
        let mut trial = Trial::default();
        let found = |judges: &[Judge]| -> Vec<Finding> { judges.iter().map(|it| Finding::new(*it, "it")).collect() };
        let asked = [Judge::Leaders, Judge::Key];
        assert!(!trial.add(4, Verdict::Valid, &[], &asked));
        assert!(!trial.add(3, Verdict::Invalid, &found(&[Judge::Panic]), &asked));
        assert!(trial.add(2, Verdict::Invalid, &found(&[Judge::Panic, Judge::Key, Judge::Key]), &asked));
        assert!(trial.add(9, Verdict::Invalid, &found(&[Judge::Leaders]), &asked));
        assert_eq!((trial.seeds, trial.valid, trial.caught.as_slice()), (4, 1, &[2, 9][..]));
        assert_eq!(trial.first.map(|it| (it.seed, it.judge)), Some((2, Judge::Key)));
        assert_eq!(trial.by, [(Judge::Panic, 2), (Judge::Key, 1), (Judge::Leaders, 1)].into());
    }
}
