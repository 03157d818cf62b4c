//! `kahuna-sim`: runs simulated clusters from seeds, judges recorded histories, and puts known bugs back.

mod check;
mod list;
mod many;
mod one;
mod patches;
mod shrink;

use std::{collections::BTreeSet, process::ExitCode};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use kahuna_sim::{check::Verdict, claims::Workload, cli, nemesis::SimFault};

#[derive(Parser)]
#[command(
    name = "kahuna-sim",
    about = "Runs whole clusters in one thread, from a seed, under faults: exit 0 valid, 1 invalid, 2 unknown",
    version,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand)]
enum Verb {
    /// Decide whether a history of JSON lines is linearizable: exit 0 valid, 1 invalid, 2 unknown
    Check(check::CheckArgs),
    /// Put known bugs back, one at a time, and see each found: exit 0 if all are, 1 if not
    Patches(patches::PatchesArgs),
}

#[derive(Args)]
#[command(group = ArgGroup::new("many").args(["seeds", "for_seconds"]).multiple(true))]
struct RunArgs {
    /// The seed of one run
    #[arg(long, default_value_t = 1, conflicts_with = "many")]
    seed: u64,
    /// How many seeds to run, each in a process of its own
    #[arg(long)]
    seeds: Option<u64>,
    /// Start no further seed after so many seconds of real time; without `--seeds` as many as fit
    #[arg(long)]
    for_seconds: Option<u64>,
    /// The first of them
    #[arg(long, default_value_t = 1, requires = "many")]
    from: u64,
    /// How many of them at once
    #[arg(long, default_value_t = 1, requires = "many")]
    jobs: usize,
    /// How long faults happen, in seconds of virtual time
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Make a run that fails smaller, and print the command that repeats what is left
    #[arg(long, conflicts_with_all = ["many", "history"])]
    shrink: bool,
    /// Only these faults happen, by their numbers in the schedule (`struck` in the JSON report)
    #[arg(long, value_parser = list::numbers, conflicts_with = "many")]
    only_faults: Option<BTreeSet<u64>>,
    /// Only these clients are there, counted from 0
    #[arg(long, value_parser = list::numbers, conflicts_with = "many")]
    only_clients: Option<BTreeSet<u64>>,
    /// Clients only do this: keys, locks, sequences, duplicates, lives, cuts, past, appends
    #[arg(long, value_parser = list::workloads, conflicts_with = "many")]
    only_workloads: Option<BTreeSet<Workload>>,
    /// A run in which faults of all these kinds happen counts as broken
    #[arg(long, value_parser = list::faults, conflicts_with = "many", hide = true)]
    forbid: Option<BTreeSet<SimFault>>,
    /// How to print the report
    #[arg(short, long, value_enum, default_value_t = Format::Plain)]
    output: Format,
    /// Also write what the clients of one run saw to this file, for `kahuna-sim check`
    #[arg(long, conflicts_with = "many")]
    history: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Plain,
    Json,
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Invalid => "invalid",
        Verdict::Unknown => "unknown",
    }
}

fn exit_code(verdict: Verdict) -> ExitCode {
    ExitCode::from(match verdict {
        Verdict::Valid => 0,
        Verdict::Invalid => 1,
        Verdict::Unknown => 2,
    })
}

fn main() -> ExitCode {
    let cli: Cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let seeds = cli.run.seeds.or(cli.run.for_seconds.map(|_| u64::MAX));
    match (&cli.verb, seeds) {
        (Some(Verb::Check(args)), _) => check::main(args),
        (Some(Verb::Patches(args)), _) => patches::main(args),
        (None, None) if cli.run.shrink => shrink::main(&cli.run),
        (None, None) => one::main(&cli.run),
        (None, Some(seeds)) => many::main(&cli.run, seeds),
    }
}
