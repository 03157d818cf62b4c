//! How long a shard stands still while a snapshot of its one large group is taken, installed or thrown away.

mod node;
mod packing;
mod phases;
mod probe;
mod proof;
mod report;
mod thread;
mod ticks;
mod values;
mod witness;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kahuna_microbench::Output;
use kahuna_shards::linux::Allocator;

use crate::values::Values;
use crate::witness::Witness;

/// As in the binary `kahuna`.
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Measures the turns of a shard around snapshots, how long those take, and what packing them saves. Fails when a turn of the
/// shard's own takes longer than it may while a snapshot is written, and a witness on the same machine was not slow as well.
#[derive(Parser)]
struct Arguments {
    /// Keys in the group.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u32,
    /// What the values look like.
    #[arg(long, value_enum, default_value_t)]
    values: Values,
    /// Bytes of each value.
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// Megabytes of memory that each shard touches, and keeps free, before anything is measured: as much as it will take.
    #[arg(long, default_value_t = 2048)]
    touched_mb: usize,
    /// The directory to measure in; a temporary one within it is used and removed.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Instead, shows what the measure says of turns that are known.
    #[arg(long)]
    prove: bool,
    /// How results are printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    let output = arguments.output;
    let witness = Witness::start();
    if arguments.prove {
        let measured = proof::measure()?;
        let seen = witness.end();
        print!("{}", report::phases(&measured).render(output));
        print!("{}", report::long_turns(&measured, &seen).render(output));
        return Ok(ExitCode::SUCCESS);
    }
    let parent = arguments.dir.unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::tempdir_in(parent)?;
    let workload = values::Workload::new(arguments.keys, arguments.values, arguments.value_bytes);
    let (files, mut measured) = phases::build(dir.path(), workload, arguments.touched_mb)?;
    measured.extend(phases::install(dir.path(), files.clone(), arguments.touched_mb)?);
    let seen = witness.end();
    print!("{}", report::phases(&measured).render(output));
    print!("{}", report::long_turns(&measured, &seen).render(output));
    print!("{}", report::bad_times(&seen).render(output));
    print!("{}", packing::measure(&files[0])?.render(output));
    let (verdict, within) = report::verdict(&measured, &seen);
    print!("{}", verdict.render(output));
    Ok(if within { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
