//! Claim: the work grows with the length of a history, not with what its unknown outcomes could have been. Method: large
//! histories, and the steps of the search, counted per operation.

mod check_support;

use check_support::crowd::{Crowd, history_of};
use kahuna_sim::check::{Limits, Verdict, check};
use rand::SeedableRng;
use rand::rngs::SmallRng;

fn explore(crowd: &Crowd, per_operation: u64) {
    let mut rng = SmallRng::seed_from_u64(7);
    let operations = crowd.history(&mut rng);
    let report = check(&history_of(&operations), &Limits::default());
    assert_eq!(report.outcome, Verdict::Valid, "{report:#?}");
    let explored = report.counts.steps;
    assert!(explored <= per_operation * report.counts.operations, "{crowd:?}: {:?}", report.counts);
}

const LARGE: Crowd = Crowd {
    processes: 16,
    names: 100,
    operations: 100_000,
    lost_per_mille: 20,
    failed_per_mille: 10,
    revisions: true,
    values: None,
    all_kinds: true,
};

#[test]
fn a_hundred_thousand_operations_over_a_hundred_keys() {
    explore(&LARGE, 2);
}

#[test]
fn many_unknown_outcomes() {
    explore(&Crowd { lost_per_mille: 300, operations: 30_000, ..LARGE }, 4);
}

#[test]
fn one_hot_key() {
    explore(&Crowd { names: 1, operations: 20_000, ..LARGE }, 20);
}

#[test]
fn few_values_written_again_and_again() {
    explore(&Crowd { values: Some(4), operations: 30_000, ..LARGE }, 4);
}

#[test]
fn no_revisions() {
    explore(&Crowd { revisions: false, operations: 30_000, ..LARGE }, 4);
}
