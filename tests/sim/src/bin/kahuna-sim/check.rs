//! `kahuna-sim check FILE`: judges a recorded history. Format and exit codes: `tests/sim/HISTORY.md`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use kahuna_sim::check::{self, History, Limits, Report, Verdict};

use crate::{Format, exit_code, verdict_name};

/// The file cannot be read, or is not a history (`EX_DATAERR`).
const EXIT_DATA: u8 = 65;

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// The history; - is standard input
    file: PathBuf,
    /// How to print the report
    #[arg(short, long, value_enum, default_value_t = Format::Plain)]
    output: Format,
    /// Answered operations below which the verdict is unknown
    #[arg(long, default_value_t = Limits::default().min_ok)]
    min_ok: u64,
    /// Reads that saw a value below which the verdict is unknown (where there are keys)
    #[arg(long, default_value_t = Limits::default().min_reads_with_value)]
    min_reads_with_value: u64,
    /// Overlapping pairs of operations on one name below which the verdict is unknown
    #[arg(long, default_value_t = Limits::default().min_concurrent_pairs)]
    min_concurrent_pairs: u64,
    /// Keys not read after their last acknowledged write above which the verdict is unknown
    #[arg(long, default_value_t = Limits::default().max_uncovered_keys)]
    max_uncovered_keys: u64,
    /// Steps of the search per name before it is given up
    #[arg(long, default_value_t = Limits::default().max_steps)]
    max_steps: u64,
    /// Demand that revisions rise by exactly one also from absence: no tombstone was collected
    #[arg(long)]
    dense_revisions: bool,
}

/// Judges the history; exits with the verdict.
pub(crate) fn main(args: &CheckArgs) -> ExitCode {
    match run(args) {
        Ok(verdict) => exit_code(verdict),
        Err(error) => {
            eprintln!("kahuna-sim: {}: {error}", args.file.display());
            ExitCode::from(EXIT_DATA)
        }
    }
}

fn run(args: &CheckArgs) -> Result<Verdict, Box<dyn std::error::Error>> {
    let history = History::read(open(&args.file)?)?;
    let report = check::check(&history, &limits(args));
    let mut out = io::stdout().lock();
    match args.output {
        Format::Json => writeln!(out, "{}", serde_json::to_string(&report)?)?,
        Format::Plain => print_plain(&mut out, &report)?,
    }
    Ok(report.outcome)
}

fn open(file: &Path) -> io::Result<Box<dyn BufRead>> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(BufReader::new(File::open(file)?)))
}

fn limits(args: &CheckArgs) -> Limits {
    Limits {
        min_ok: args.min_ok,
        min_reads_with_value: args.min_reads_with_value,
        min_concurrent_pairs: args.min_concurrent_pairs,
        max_uncovered_keys: args.max_uncovered_keys,
        max_steps: args.max_steps,
        dense_revisions: args.dense_revisions,
    }
}

fn print_plain(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let counts = &report.counts;
    let verdict = verdict_name(report.outcome);
    writeln!(
        out,
        "{verdict}: {} operations ({} answered, {} failed, {} unknown) on {} keys, {} locks, {} sequences",
        counts.operations, counts.ok, counts.failed, counts.unknown, counts.keys, counts.locks, counts.sequences
    )?;
    for problem in &report.problems {
        writeln!(out, "{} {:?}: {}", problem.kind, problem.name, problem.text)?;
    }
    for shortfall in &report.shortfalls {
        writeln!(out, "too little: {shortfall}")?;
    }
    Ok(())
}
