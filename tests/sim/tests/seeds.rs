//! Whole clusters under faults, from fixed seeds. Each runs in a process of its own, as `kahuna-sim` runs them.

use std::process::{Command, Output};

use kahuna_sim::check::Verdict;
use kahuna_sim::run::RunReport;

fn kahuna_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kahuna-sim")).args(arguments).output().expect("the binary starts")
}

fn run(seed: u64, seconds: u64) -> RunReport {
    let output = kahuna_sim(&["--seed", &seed.to_string(), "--seconds", &seconds.to_string(), "-o", "json"]);
    let replay = format!("cargo run --release -p kahuna-sim -- --seed {seed} --seconds {seconds}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}\n{}\nreplay: {replay}", String::from_utf8_lossy(&output.stderr)))
}

/// Fails unless the run of `seed` is valid and says enough.
fn expect_valid(seed: u64, seconds: u64) {
    let report = run(seed, seconds);
    let replay = format!("cargo run --release -p kahuna-sim -- --seed {seed} --seconds {seconds}");
    assert_eq!(report.outcome, Verdict::Valid, "{report:#?}\nreplay: {replay}");
}

macro_rules! seeds {
    ($($name:ident: $seed:literal, $seconds:literal;)+) => {$(
        #[test]
        fn $name() {
            expect_valid($seed, $seconds);
        }
    )+};
}

seeds! {
    seed_1: 1, 3;
    seed_5: 5, 3;
    seed_6: 6, 3;
    seed_10: 10, 3;
    seed_62: 62, 3;
}

/// Claim: a run is a function of its seed, over processes too.
#[test]
fn equal_seeds_give_equal_runs() {
    let (one, again) = (run(7, 1), run(7, 1));
    let facts = |report: &RunReport| {
        (report.trace.clone(), report.virtual_ms, report.acks, report.unknown, report.terms, report.faults.clone())
    };
    assert_eq!(facts(&one), facts(&again));
}

/// Claim: faults that are left out do not happen, and the others stay what they were.
#[test]
fn faults_can_be_left_out() {
    let whole = run(17, 2);
    let first = whole.struck.iter().map(|struck| struck.number).min().expect("faults happened");
    let others: Vec<String> = (1..100).filter(|number| *number != first).map(|number| number.to_string()).collect();
    let arguments = ["--seed", "17", "--seconds", "2", "-o", "json", "--only-faults", &others.join(",")];
    let reduced = kahuna_sim(&arguments);
    let reduced: RunReport = serde_json::from_slice(&reduced.stdout).expect("one report");
    assert!(reduced.struck.iter().all(|struck| struck.number != first), "{:?}", reduced.struck);
    let kind = |report: &RunReport, number: u64| {
        report.struck.iter().find(|struck| struck.number == number).map(|struck| struck.fault)
    };
    let both: Vec<_> = (1..100).filter_map(|number| kind(&whole, number).zip(kind(&reduced, number))).collect();
    assert!(both.len() > 2, "{both:?}");
    assert!(both.iter().all(|(one, other)| one == other), "{both:?}");
}

/// Claim: what never happened fails a run of many seeds, however well the rest went.
#[test]
fn many_seeds_fail_when_some_fault_never_happened() {
    let output = kahuna_sim(&["--seeds", "1", "--seconds", "1", "-o", "json"]);
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    let zeros = summary["zeros"].as_array().expect("a list");
    assert!(!zeros.is_empty(), "one second is too short for all kinds of faults");
    assert_eq!(summary["outcome"], "invalid");
    assert_eq!(output.status.code(), Some(1));
    assert!(summary["acks"].as_u64().is_some_and(|acks| acks > 0));
}

/// Claim: no seed is started once the time is over, and a run of none says nothing good.
#[test]
fn no_seed_starts_after_the_time() {
    let output = kahuna_sim(&["--for-seconds", "0", "-o", "json"]);
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(summary["seeds"], 0);
    assert_eq!(summary["outcome"], "unknown");
    assert_eq!(output.status.code(), Some(2));
}
