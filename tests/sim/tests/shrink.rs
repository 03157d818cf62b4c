//! The shrinker on real runs, each trial a process. What counts as broken is a fault that is forbidden for once.

use std::process::{Command, Output};

use kahuna_sim::run::RunReport;

fn kahuna_sim(arguments: &[&str]) -> Output {
    let arguments = [&["--seed", "12", "-o", "json"], arguments].concat();
    Command::new(env!("CARGO_BIN_EXE_kahuna-sim")).args(arguments).output().expect("the binary starts")
}

fn report(arguments: &[&str]) -> RunReport {
    let output = kahuna_sim(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
}

/// Claim: of a run that fails because of one fault, that fault, one client and one kind of step are left, and the printed
/// command repeats it.
#[test]
fn what_is_left_of_a_run_is_one_fault_and_one_client() {
    // Not the whole run: each trial is a cluster.
    let some = ["--seconds", "1", "--only-clients=1,2", "--only-workloads=keys,past"];
    let whole = report(&some);
    let [first, second, ..] = &whole.struck[..] else { panic!("{:?}", whole.struck) };
    let forbid = format!("--forbid={}", second.fault.name());
    let only = format!("--only-faults={},{}", first.number, second.number);
    let output = kahuna_sim(&[&some[..], &["--shrink", &forbid, &only]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    let small: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!((output.status.code(), &small["judge"]), (Some(1), &"forbidden".into()), "{said}");
    assert_eq!(small["report"]["struck"].as_array().map(Vec::len), Some(1), "{small}\n{said}");
    let replay = small["replay"].as_str().expect("a command");
    let count =
        |flag: &str| replay.split(' ').find_map(|word| word.strip_prefix(flag)).map(|list| list.split(',').count());
    for flag in ["--only-faults=", "--only-clients=", "--only-workloads="] {
        assert_eq!(count(flag), Some(1), "{flag} {replay}");
    }
    let (_, arguments) = replay.split_once(" -- ").expect("a command of cargo");
    let again: Vec<&str> = arguments.split(' ').skip(2).collect();
    assert_eq!(small["report"]["trace"], report(&again).trace.as_str(), "{replay}");
}

/// Claim: a run that is valid is said to be, and nothing is tried.
#[test]
fn a_valid_run_is_not_shrunk() {
    let output = kahuna_sim(&["--seconds", "1", "--shrink"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout.is_empty(), "{said}");
    assert!(said.contains("seed 12 does not fail"), "{said}");
}
