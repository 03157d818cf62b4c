//! Many seeds, one process each: a library that keeps a random number generator per process would otherwise let one run
//! reach into the next.

use std::{
    collections::BTreeMap,
    env,
    io::{self, Write},
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use kahuna_sim::{check::Verdict, nemesis::SimFault, run::RunReport};
use serde::Serialize;

use crate::{Format, RunArgs, exit_code, one::plain, verdict_name};

/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Lines of a failed process that are shown: its last words.
const LINES_SHOWN: usize = 12;

/// All runs together.
#[derive(Debug, Default, Serialize)]
struct Summary {
    outcome: Option<Verdict>,
    seeds: u64,
    valid: u64,
    unknown_seeds: Vec<u64>,
    failed_seeds: Vec<u64>,
    /// One command per failed seed that repeats it.
    replay: Vec<String>,
    /// Counts that stayed at zero over all seeds: what was never exercised.
    zeros: Vec<String>,
    acks: u64,
    unknown: u64,
    duplicates: u64,
    terms: u64,
    snapshots: u64,
    installs: u64,
    equal_states: u64,
    ended_keys: u64,
    scans: u64,
    reads_back: u64,
    fenced_writes: u64,
    appended_values: u64,
    existences: u64,
    faults: BTreeMap<String, u64>,
    virtual_ms: u64,
    elapsed_ms: u64,
    virtual_seconds_per_second: f64,
    answers_per_second: f64,
    seeds_per_minute: f64,
}

/// What one process came to: its report, or why there is none.
type Ended = (u64, Result<RunReport, String>);

pub(crate) fn main(args: &RunArgs, seeds: u64) -> ExitCode {
    let began = Instant::now();
    let mut summary = Summary::default();
    let until = args.for_seconds.map(Duration::from_secs);
    let next = AtomicU64::new(args.from);
    let (ended, results) = mpsc::channel::<Ended>();
    thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            let (next, ended) = (&next, ended.clone());
            scope.spawn(move || {
                loop {
                    if until.is_some_and(|until| began.elapsed() >= until) {
                        return;
                    }
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.from.saturating_add(seeds)
                        || ended.send((seed, run_this(seed, args.seconds))).is_err()
                    {
                        return;
                    }
                }
            });
        }
        drop(ended);
        let mut said = Instant::now();
        for (done, (seed, result)) in (1..).zip(&results) {
            summary.seeds += 1;
            summary.add(seed, args.seconds, result);
            if said.elapsed() > PROGRESS_EVERY {
                eprintln!("{done} seeds, {} failed", summary.failed_seeds.len());
                said = Instant::now();
            }
        }
    });
    summary.conclude(began.elapsed(), until.is_some());
    let outcome = summary.outcome.unwrap_or(Verdict::Unknown);
    match summary.print(args.output) {
        Ok(()) => exit_code(outcome),
        Err(error) => {
            eprintln!("kahuna-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one seed with `program` in a process of its own.
pub(crate) fn run_process(program: &Path, seed: u64, seconds: u64) -> Result<RunReport, String> {
    let output = Command::new(program)
        .args(["--seed", &seed.to_string(), "--seconds", &seconds.to_string(), "-o", "json"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start a process: {error}"))?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        let at = said.lines().position(|line| line.contains("panicked at")).unwrap_or(0);
        let lines: Vec<&str> = said.lines().skip(at).take(LINES_SHOWN).collect();
        format!("{} and no report:\n  {}", output.status, lines.join("\n  "))
    })
}

fn run_this(seed: u64, seconds: u64) -> Result<RunReport, String> {
    let program = env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
    run_process(&program, seed, seconds)
}

fn replay(seed: u64, seconds: u64) -> String {
    format!("cargo run --release -p kahuna-sim -- --seed {seed} --seconds {seconds}")
}

impl Summary {
    fn add(&mut self, seed: u64, seconds: u64, result: Result<RunReport, String>) {
        let failure = match result {
            Err(failure) => Some(format!("invalid: seed {seed}: {failure}\n")),
            Ok(report) => {
                self.count(&report);
                match report.outcome {
                    Verdict::Valid => {
                        self.valid += 1;
                        None
                    }
                    Verdict::Unknown => {
                        self.unknown_seeds.push(seed);
                        eprint!("{}", plain(&report));
                        None
                    }
                    Verdict::Invalid => Some(plain(&report)),
                }
            }
        };
        if let Some(text) = failure {
            eprintln!("{text}  replay: {}", replay(seed, seconds));
            self.failed_seeds.push(seed);
            self.replay.push(replay(seed, seconds));
        }
    }

    fn count(&mut self, report: &RunReport) {
        self.acks += report.acks;
        self.unknown += report.unknown;
        self.duplicates += report.duplicates;
        self.terms += report.terms;
        self.snapshots += report.snapshots;
        self.installs += report.installs;
        self.equal_states += report.equal_states;
        self.ended_keys += report.ended_keys;
        self.scans += report.scans;
        self.reads_back += report.reads_back;
        self.fenced_writes += report.fenced_writes;
        self.appended_values += report.appended_values;
        self.existences += report.existences;
        self.virtual_ms += report.virtual_ms;
        for (fault, count) in &report.faults {
            *self.faults.entry(fault.clone()).or_default() += count;
        }
    }

    /// `cut`: the runs ended by the clock, so that what they did not reach says nothing about the faults' schedule.
    fn conclude(&mut self, took: Duration, cut: bool) {
        self.elapsed_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.virtual_seconds_per_second = self.virtual_ms as f64 / self.elapsed_ms.max(1) as f64;
        self.answers_per_second = self.acks as f64 * 1000.0 / self.elapsed_ms.max(1) as f64;
        self.seeds_per_minute = self.seeds as f64 * 60_000.0 / self.elapsed_ms.max(1) as f64;
        self.failed_seeds.sort_unstable();
        self.unknown_seeds.sort_unstable();
        let counts = [
            ("acks", self.acks),
            ("unknown", self.unknown),
            ("duplicates", self.duplicates),
            ("terms", self.terms),
            ("snapshots", self.snapshots),
            ("installs", self.installs),
            ("equal_states", self.equal_states),
            ("ended_keys", self.ended_keys),
            ("scans", self.scans),
            ("reads_back", self.reads_back),
            ("fenced_writes", self.fenced_writes),
            ("appended_values", self.appended_values),
            ("existences", self.existences),
        ];
        self.zeros.extend(counts.iter().filter(|(_, count)| *count == 0).map(|(name, _)| (*name).to_owned()));
        let never = SimFault::ALL.iter().map(|(fault, _)| fault.name()).filter(|name| !self.faults.contains_key(name));
        self.zeros.extend(never);
        self.outcome = Some(match (self.failed_seeds.is_empty(), self.unknown_seeds.is_empty()) {
            (false, _) => Verdict::Invalid,
            // What never happened says nothing about what would have become of it.
            _ if !self.zeros.is_empty() && !cut => Verdict::Invalid,
            (true, false) => Verdict::Unknown,
            _ if !self.zeros.is_empty() => Verdict::Unknown,
            (true, true) => Verdict::Valid,
        });
    }

    fn print(&self, format: Format) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if format == Format::Json {
            return writeln!(out, "{}", serde_json::to_string(self)?);
        }
        writeln!(
            out,
            "{}: {} of {} seeds valid, {} unknown, {} failed\n{} answered, {} unknown; {} terms, {} snapshots, \
             {} installed, {} equal states, {} duplicates",
            self.outcome.map_or("unknown", verdict_name),
            self.valid,
            self.seeds,
            self.unknown_seeds.len(),
            self.failed_seeds.len(),
            self.acks,
            self.unknown,
            self.terms,
            self.snapshots,
            self.installs,
            self.equal_states,
            self.duplicates,
        )?;
        let faults: Vec<String> = self.faults.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(out, "faults: {}", faults.join(", "))?;
        writeln!(
            out,
            "{:.0} virtual seconds and {:.0} answers per second, {:.1} seeds per minute",
            self.virtual_seconds_per_second, self.answers_per_second, self.seeds_per_minute
        )?;
        if !self.zeros.is_empty() {
            writeln!(out, "never exercised: {}", self.zeros.join(", "))?;
        }
        for replay in &self.replay {
            writeln!(out, "replay: {replay}")?;
        }
        Ok(())
    }
}
