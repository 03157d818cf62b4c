//! The log beside the limit of its disk, in one run on one file system.

mod load;
mod metered;
mod nowhere;
mod raw;
mod variants;
mod versus;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use kahuna_microbench::Output;
use kahuna_shards::linux::Allocator;

use self::load::Workload;

/// As in the binary `kahuna`.
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Measures the log against a plain loop of durable writes.
#[derive(Parser)]
struct Arguments {
    /// What to measure.
    #[arg(value_enum, default_value_t)]
    subject: Subject,
    /// The directory to measure in; a temporary one within it is used and removed.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Rounds that count, after one that does not.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each measurement in a round.
    #[arg(long, default_value_t = 0.4)]
    seconds: f64,
    /// Measure the log with so many writers only, instead of all workloads.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    writers: Option<u32>,
    /// Bytes of a record's payload; goes with `--writers`.
    #[arg(long, default_value_t = 256, requires = "writers")]
    payload: u32,
    /// How results are printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Subject {
    /// The log, each workload beside raw writes of its own size and depth.
    #[default]
    Log,
    /// The raw writes alone, in all variants.
    Raw,
    /// The log's processor time alone, on a disk that takes no time.
    Processor,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let parent = arguments.dir.unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::tempdir_in(parent)?;
    let round = Duration::try_from_secs_f64(arguments.seconds)?;
    let one = arguments.writers.map(|writers| Workload::new(writers as usize, arguments.payload as usize));
    let workloads = one.map_or_else(Workload::all, |one| vec![one]);
    let table = match arguments.subject {
        Subject::Log => versus::measure(dir.path(), &workloads, arguments.rounds, round)?,
        Subject::Raw => variants::measure(dir.path(), arguments.rounds, round)?,
        Subject::Processor => nowhere::measure(&workloads, arguments.rounds, round)?,
    };
    print!("{}", table.render(arguments.output));
    Ok(())
}
