//! One seed, in this process.

use std::{
    fmt::Write as _,
    io::{self, Write},
    process::ExitCode,
};

use kahuna_sim::{
    check::Event,
    run::{RunReport, run},
    shrink::Trial,
};

use crate::{Format, RunArgs, exit_code, verdict_name};

/// The report cannot be printed or the history not be written (`EX_IOERR`).
const EXIT_IO: u8 = 74;

pub(crate) fn main(args: &RunArgs) -> ExitCode {
    let mut plan = trial(args).plan();
    plan.forbidden = args.forbid.clone().unwrap_or_default();
    let (report, events) = run(&plan);
    match print(args, &report, &events) {
        Ok(()) => exit_code(report.outcome),
        Err(error) => {
            eprintln!("kahuna-sim: {error}");
            ExitCode::from(EXIT_IO)
        }
    }
}

/// What the arguments say of one run.
pub(crate) fn trial(args: &RunArgs) -> Trial {
    Trial {
        faults: args.only_faults.clone(),
        clients: args.only_clients.clone(),
        workloads: args.only_workloads.clone(),
        ..Trial::whole(args.seed, args.seconds)
    }
}

fn print(args: &RunArgs, report: &RunReport, events: &[Event]) -> io::Result<()> {
    if let Some(path) = &args.history {
        let lines: String = events.iter().map(|event| event.to_line() + "\n").collect();
        std::fs::write(path, lines)?;
    }
    let mut out = io::stdout().lock();
    match args.output {
        Format::Json => writeln!(out, "{}", serde_json::to_string(report)?),
        Format::Plain => out.write_all(plain(report).as_bytes()),
    }
}

/// The report for a person, line by line.
pub(crate) fn plain(report: &RunReport) -> String {
    let mut text = format!(
        "{}: seed {}, {} nodes, {} data groups, {:.1} s in {:.1} s, trace {}\n  {} answered, {} unknown, {} failed; \
         {} terms, {} snapshots, {} installed, {} equal states, {} duplicates\n",
        verdict_name(report.outcome),
        report.seed,
        report.nodes,
        report.partitions,
        report.virtual_ms as f64 / 1000.0,
        report.elapsed_ms as f64 / 1000.0,
        report.trace,
        report.acks,
        report.unknown,
        report.failed,
        report.terms,
        report.snapshots,
        report.installs,
        report.equal_states,
        report.duplicates,
    );
    let faults: Vec<String> = report.faults.iter().map(|(name, count)| format!("{count} {name}")).collect();
    // Writing to a String does not fail.
    let _ = writeln!(text, "  faults: {}", faults.join(", "));
    for problem in &report.problems {
        let _ = writeln!(text, "  problem: {problem}");
    }
    for shortfall in &report.shortfalls {
        let _ = writeln!(text, "  too little: {shortfall}");
    }
    text
}
