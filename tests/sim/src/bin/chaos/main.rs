//! `chaos`: a cluster of real processes under faults, and a verdict on what its clients saw.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use kahuna_sim::{
    chaos::{self, ChaosError, ChaosReport, Plan, Profile, Stop},
    check::Verdict,
    cli,
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// The binary `kahuna` is not there (`EX_NOINPUT`).
const EXIT_NO_BINARY: u8 = 66;
/// Files or processes cannot be handled (`EX_IOERR`).
const EXIT_IO: u8 = 74;
/// This process may not make network namespaces or mount (`EX_NOPERM`).
const EXIT_NOT_ALLOWED: u8 = 77;
/// Fewer nodes have no minority, and more than five do not vote.
const NODES: std::ops::RangeInclusive<i64> = 3..=5;

#[derive(Parser)]
#[command(
    name = "chaos",
    about = "Runs real processes under partitions, kills, pauses and full disks: exit 0 valid, 1 invalid, 2 unknown, \
             77 without root",
    version
)]
struct Cli {
    /// How long faults happen, in minutes; a fraction will do
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Faults and requests are drawn from it [default: drawn itself]
    #[arg(long)]
    seed: Option<u64>,
    /// Processes of the cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(NODES))]
    nodes: u8,
    /// How many clients, and how often faults happen
    #[arg(long, value_enum, default_value_t = ProfileArg::Quiet)]
    profile: ProfileArg,
    /// The binary `kahuna` [default: beside this program]
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Where history.jsonl, report.json, timeline.svg and the nodes' logs go [default: chaos-run beside this program]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Shards of each node
    #[arg(long, default_value_t = 2)]
    shards: u16,
    /// Data groups
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Between heartbeats, in milliseconds
    #[arg(long, default_value_t = 50)]
    heartbeat_ms: u64,
    /// Shortest election timeout, in milliseconds
    #[arg(long, default_value_t = 150)]
    election_min_ms: u64,
    /// Longest election timeout, in milliseconds
    #[arg(long, default_value_t = 300)]
    election_max_ms: u64,
    /// While the cluster is whole everything is answered within this, in milliseconds
    #[arg(long, default_value_t = 3_000)]
    answer_within_ms: u64,
    /// How long the cluster may take to get whole once everything is mended, in milliseconds
    #[arg(long, default_value_t = 5_000)]
    settle_ms: u64,
    /// Set the second node's clock wrong, by milliseconds: it goes by the others' clocks, and the run must be valid
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    skew_ms: i64,
    /// How to print the report
    #[arg(short, long, value_enum, default_value_t = Format::Plain)]
    output: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProfileArg {
    /// A few clients; a fault lasts for seconds
    Quiet,
    /// A dozen clients on each group of names; faults come faster than a lease ends
    Hot,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Plain,
    Json,
}

impl Cli {
    fn plan(&self) -> Plan {
        let program = env::current_exe().unwrap_or_default();
        let here = program.parent().unwrap_or(Path::new("."));
        Plan {
            seed: self.seed.unwrap_or_else(rand::random),
            nodes: usize::from(self.nodes),
            profile: match self.profile {
                ProfileArg::Quiet => Profile::Quiet,
                ProfileArg::Hot => Profile::Hot,
            },
            duration: Duration::from_secs_f64(self.minutes.clamp(0.0, 1e6) * 60.0),
            binary: self.binary.clone().unwrap_or_else(|| here.join("kahuna")),
            out: self.out.clone().unwrap_or_else(|| here.join("chaos-run")),
            shards: self.shards,
            partitions: self.partitions,
            heartbeat: Duration::from_millis(self.heartbeat_ms),
            election: (Duration::from_millis(self.election_min_ms), Duration::from_millis(self.election_max_ms)),
            answer_within: Duration::from_millis(self.answer_within_ms),
            settle: Duration::from_millis(self.settle_ms),
            skew_ms: self.skew_ms,
        }
    }
}

fn main() -> ExitCode {
    let cli: Cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let stop = Stop::default();
    if let Err(error) = end_on_signals(&stop) {
        eprintln!("chaos: {error}");
        return ExitCode::from(EXIT_IO);
    }
    let plan = cli.plan();
    eprintln!("seed {}, output in {}", plan.seed, plan.out.display());
    match chaos::run(&plan, &stop) {
        Ok(report) => {
            match cli.output {
                Format::Plain => print!("{}", plain(&plan, &report)),
                Format::Json => println!("{}", serde_json::to_string(&report).expect("plain fields always serialise")),
            }
            ExitCode::from(match report.outcome {
                Verdict::Valid => 0,
                Verdict::Invalid => 1,
                Verdict::Unknown => 2,
            })
        }
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::from(match error {
                ChaosError::NotAllowed(_) => EXIT_NOT_ALLOWED,
                ChaosError::NoBinary(_) => EXIT_NO_BINARY,
                ChaosError::Io { .. } => EXIT_IO,
            })
        }
    }
}

/// The first signal ends the run in order.
fn end_on_signals(stop: &Stop) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let stop = stop.clone();
    thread::Builder::new().name("signals".into()).spawn(move || signals.forever().for_each(|_| stop.ask()))?;
    Ok(())
}

/// The report for a person, line by line.
fn plain(plan: &Plan, report: &ChaosReport) -> String {
    let verdict = match report.outcome {
        Verdict::Valid => "valid",
        Verdict::Invalid => "invalid",
        Verdict::Unknown => "unknown",
    };
    let faults: Vec<String> = report.faults.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let mut text = format!(
        "{verdict}: seed {}, {} profile, {} nodes, {} clients, {:.0} s\n  {} answered, {} unknown, {} failed; {} sent \
         twice, {} keys ended, {} scans, {} reads back, {} writes fenced, {} values of appends, {} existences; {} rounds, {} answers demanded; {} full disks noticed, {} writes \
         refused for want of room, {} packets over slow or lossy wires\n  faults: {}\n",
        report.seed,
        report.profile.name(),
        report.nodes,
        report.clients,
        report.elapsed_ms as f64 / 1000.0,
        report.acks,
        report.unknown,
        report.failed,
        report.duplicates,
        report.ended_keys,
        report.scans,
        report.reads_back,
        report.fenced_writes,
        report.appended_values,
        report.existences,
        report.rounds,
        report.demanded,
        report.full_disks,
        report.refused_for_room,
        report.murky_packets,
        faults.join(", "),
    );
    let never = report.never();
    if !never.is_empty() {
        text += &format!("  did not happen: {}\n", never.join(", "));
    }
    text.extend(report.problems.iter().map(|problem| format!("  problem: {problem}\n")));
    text.extend(report.shortfalls.iter().map(|shortfall| format!("  too little: {shortfall}\n")));
    text += &format!("  {}\n", plan.out.display());
    text
}
