//! How long a shard stands still while a snapshot of its one large group is taken, installed or thrown away.

mod node;
mod packing;
mod phases;
mod probe;
mod values;

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use kahuna_microbench::{Cell, Output, Table};
use kahuna_shards::linux::Allocator;

use crate::phases::Measured;
use crate::probe::Gaps;
use crate::values::Values;

/// As in the binary `kahuna`.
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Measures the gaps of a shard's loop around snapshots, how long those take, and what packing them saves.
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
    /// How results are printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let parent = arguments.dir.unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::tempdir_in(parent)?;
    let workload = values::Workload::new(arguments.keys, arguments.values, arguments.value_bytes);
    let (files, mut measured) = phases::build(dir.path(), workload, arguments.touched_mb)?;
    measured.extend(phases::install(dir.path(), files.clone(), arguments.touched_mb)?);
    print!("{}", gaps(&measured).render(arguments.output));
    print!("{}", packing::measure(&files[0])?.render(arguments.output));
    Ok(())
}

fn gaps(measured: &[Measured]) -> Table {
    let mut table = Table::new([
        "phase",
        "seconds",
        "turns",
        "p50_us",
        "p99_us",
        "p999_us",
        "max_us",
        "own_p999_us",
        "own_max_us",
        "its_cpu_us",
        "its_faults",
        "batches_per_s",
        "batch_p50_ms",
        "batch_p99_ms",
        "batch_max_ms",
    ]);
    for phase in measured {
        let seconds = phase.seconds;
        let us = |nanos: u64| Cell::Number(nanos as f64 / 1e3, 1);
        let ms = |nanos: u64| Cell::Number(nanos as f64 / 1e6, 1);
        let Gaps { whole: gaps, own, longest } = &phase.gaps;
        let writes = &phase.writes;
        table.push([
            Cell::Text(phase.name.to_owned()),
            Cell::Number(seconds, 2),
            Cell::Number(gaps.len() as f64, 0),
            us(gaps.value_at_quantile(0.5)),
            us(gaps.value_at_quantile(0.99)),
            us(gaps.value_at_quantile(0.999)),
            us(gaps.max()),
            us(own.value_at_quantile(0.999)),
            us(own.max()),
            us(longest.ran.as_nanos() as u64),
            Cell::Number(longest.faults as f64, 0),
            Cell::Number(writes.len() as f64 / seconds, 0),
            ms(writes.value_at_quantile(0.5)),
            ms(writes.value_at_quantile(0.99)),
            ms(writes.max()),
        ]);
    }
    table
}
