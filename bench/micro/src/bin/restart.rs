//! How soon a killed node serves again, and what that takes: the real binary, one node, one data directory.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use kahuna_microbench::{Cell, Output, Program, Table};

/// Gets that must be answered before all partitions count as served: names enough to meet every partition.
const PROBES: u32 = 64;
/// A node that takes longer does not come back.
const PATIENCE: Duration = Duration::from_secs(100);

/// Fills a node, kills it, and measures its way back.
#[derive(Parser)]
struct Arguments {
    /// The binary.
    #[arg(long, default_value = "target/release/kahuna")]
    kahuna: PathBuf,
    /// Keys.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u32,
    /// Bytes of each value.
    #[arg(long, default_value_t = 256)]
    value_bytes: u32,
    /// Shards of the node.
    #[arg(long, default_value_t = 1)]
    shards: u32,
    /// Times that it is killed.
    #[arg(long, default_value_t = 3)]
    kills: u32,
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
    let kahuna = std::path::absolute(&arguments.kahuna)?;
    let program = Program::new(kahuna, dir.path().join("data"), arguments.shards)?;
    let node = program.start()?;
    wait_for(|| program.ask(&["set", "probe-0", "there"]))?;
    for probe in 1..PROBES {
        wait_for(|| program.ask(&["set", &format!("probe-{probe}"), "there"]))?;
    }
    let keys = arguments.keys.to_string();
    let bytes = arguments.value_bytes.to_string();
    let fill = ["bench", "set", "--keys", &keys, "--ops", &keys, "--value-bytes", &bytes, "--in-flight", "256"];
    if !program.ask(&fill)? {
        return Err("the node could not be filled".into());
    }
    let filled_mb = node.peak_mb()?;
    node.kill()?;
    let mut table = Table::new([
        "shards",
        "data_mb",
        "on_disk_mb",
        "peak_filling_mb",
        "first_get_s",
        "all_partitions_s",
        "peak_mb",
    ]);
    let data_mb = f64::from(arguments.keys) * f64::from(arguments.value_bytes) / 1e6;
    for _ in 0..arguments.kills {
        let on_disk_mb = program.disk_mb()?;
        let began = Instant::now();
        let node = program.start()?;
        wait_for(|| program.ask(&["get", "probe-0"]))?;
        let first = began.elapsed();
        for probe in 1..PROBES {
            wait_for(|| program.ask(&["get", &format!("probe-{probe}")]))?;
        }
        let all = began.elapsed();
        table.push([
            Cell::Number(f64::from(arguments.shards), 0),
            Cell::Number(data_mb, 0),
            Cell::Number(on_disk_mb, 0),
            Cell::Number(filled_mb, 0),
            Cell::Number(first.as_secs_f64(), 2),
            Cell::Number(all.as_secs_f64(), 2),
            Cell::Number(node.peak_mb()?, 0),
        ]);
        node.kill()?;
    }
    print!("{}", table.render(arguments.output));
    Ok(())
}

/// Repeats `ask` until it is answered.
fn wait_for(ask: impl Fn() -> std::io::Result<bool>) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    while !ask()? {
        if began.elapsed() > PATIENCE {
            return Err("the node does not serve".into());
        }
    }
    Ok(())
}
