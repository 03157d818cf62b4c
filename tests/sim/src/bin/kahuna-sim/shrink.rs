//! A seed that fails, made smaller.

use std::{
    env,
    io::{self, Write},
    process::{Command, ExitCode, Stdio},
};

use kahuna_sim::{
    check::Verdict,
    run::RunReport,
    shrink::{Ended, Shrunk, Trial, shrink},
};
use serde::Serialize;

use crate::{Format, RunArgs, exit_code, one::trial};

/// What is printed as JSON.
#[derive(Serialize)]
struct Small<'a> {
    outcome: Verdict,
    judge: String,
    runs: u64,
    replay: String,
    report: Option<&'a RunReport>,
}

pub(crate) fn main(args: &RunArgs) -> ExitCode {
    let forbidden = args.forbid.iter().map(|kinds| {
        let names: Vec<String> = kinds.iter().map(|kind| kind.name()).collect();
        format!("--forbid={}", names.join(","))
    });
    let whole = Trial { others: forbidden.collect(), ..trial(args) };
    let Some(shrunk) = shrink(whole, run_process) else {
        eprintln!("kahuna-sim: seed {} does not fail", args.seed);
        return exit_code(Verdict::Valid);
    };
    match print(args.output, &shrunk) {
        Ok(()) => exit_code(Verdict::Invalid),
        Err(error) => {
            eprintln!("kahuna-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Carries a trial out in a process of its own, and says what came of it.
fn run_process(trial: &Trial) -> Ended {
    let program = env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args(trial.arguments()).args(["-o", "json"]).stdin(Stdio::null());
    let output = command.output().expect("this program can be started again");
    let ended: Ended = serde_json::from_slice(&output.stdout).ok();
    let problem = ended.as_ref().map(|report| report.problems.first().map(ToString::to_string).unwrap_or_default());
    let short = |text: String| text.chars().take(100).collect::<String>();
    let said = problem.map_or_else(|| output.status.to_string(), short);
    eprintln!("{} {}: {said}", if said.is_empty() { "valid" } else { "fails" }, trial.arguments().join(" "));
    ended
}

fn print(format: Format, shrunk: &Shrunk) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Shrunk { trial, ended, judge, runs } = shrunk;
    let replay = trial.command();
    if format == Format::Json {
        let (outcome, judge, report) = (Verdict::Invalid, judge.name(), ended.as_ref());
        return writeln!(out, "{}", serde_json::to_string(&Small { outcome, judge, runs: *runs, replay, report })?);
    }
    writeln!(out, "{} after {runs} runs", judge.name())?;
    if let Some(report) = ended {
        for struck in &report.struck {
            let (number, name) = (struck.number, struck.fault.name());
            writeln!(out, "  fault {number}: {name}, from {} ms on for {} ms", struck.at_ms, struck.for_ms)?;
        }
        for problem in &report.problems {
            writeln!(out, "  problem: {problem}")?;
        }
    }
    writeln!(out, "replay: {replay}")
}
