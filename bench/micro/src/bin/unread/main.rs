//! What clients that ask and do not read cost a node, and the other clients: the real binary, one node.

mod connection;
mod watch;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use kahuna_microbench::{Cell, Output, Program, Table};

use crate::connection::Connection;
use crate::watch::Watch;

/// A node that takes longer does not come up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Keys with long values.
const KEYS: u32 = 16;

/// Connects clients that ask for values and do not read, and measures the node and another client meanwhile.
#[derive(Parser)]
struct Arguments {
    /// The binary.
    #[arg(long, default_value = "target/release/kahuna")]
    kahuna: PathBuf,
    /// Clients that do not read.
    #[arg(long, default_value_t = 1000)]
    clients: u32,
    /// Values that each of them asks for.
    #[arg(long, default_value_t = 200)]
    values: u32,
    /// Bytes of each value.
    #[arg(long, default_value_t = 100_000)]
    value_bytes: usize,
    /// Shards of the node.
    #[arg(long, default_value_t = 1)]
    shards: u32,
    /// How long they stay, in seconds.
    #[arg(long, default_value_t = 10)]
    stay: u64,
    /// How long the node is watched once they left, in seconds.
    #[arg(long, default_value_t = 60)]
    after: u64,
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
    let program = Program::new(std::path::absolute(&arguments.kahuna)?, dir.path().join("data"), arguments.shards)?;
    let node = program.start()?;
    let began = Instant::now();
    while !program.ask(&["set", "short", "there"])? {
        if began.elapsed() > PATIENCE {
            return Err("the node does not serve".into());
        }
    }
    let address = program.clients().to_owned();
    let mut writer = Connection::open(&address)?;
    for key in 0..KEYS {
        writer.set(&name(key), vec![b'v'; arguments.value_bytes])?;
    }
    let mut table =
        Table::new(["phase", "resident_mb", "peak_mb", "gets", "p50_us", "p99_us", "max_us", "long_gets", "refused"]);
    let mut phase = |what: &str, length: Duration| -> Result<(), Box<dyn Error>> {
        let watch = Watch::start(&address, &name(0))?;
        let end = Instant::now() + length;
        let mut peak: f64 = 0.0;
        while Instant::now() < end {
            peak = peak.max(node.resident_mb()?);
            pause(Duration::from_millis(50));
        }
        let seen = watch.end()?;
        table.push([
            Cell::Text(what.to_owned()),
            Cell::Number(node.resident_mb()?, 0),
            Cell::Number(peak, 0),
            Cell::Number(seen.short.len() as f64, 0),
            Cell::Number(seen.short.value_at_quantile(0.5) as f64, 0),
            Cell::Number(seen.short.value_at_quantile(0.99) as f64, 0),
            Cell::Number(seen.short.max() as f64, 0),
            Cell::Number(f64::from(seen.long), 0),
            Cell::Number(f64::from(seen.refused), 0),
        ]);
        Ok(())
    };
    phase("before", Duration::from_secs(5))?;
    let mut unread = Vec::new();
    for _ in 0..arguments.clients {
        let mut connection = Connection::open(&address)?;
        connection.ask_without_reading((0..arguments.values).map(|index| name(index % KEYS)))?;
        unread.push(connection);
    }
    phase("they do not read", Duration::from_secs(arguments.stay))?;
    drop(unread);
    phase("the first second after they left", Duration::from_secs(1))?;
    phase("then", Duration::from_secs(arguments.after.saturating_sub(1)))?;
    print!("{}", table.render(arguments.output));
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "no shard runs here: it is the time between two samples")]
fn pause(length: Duration) {
    std::thread::sleep(length);
}

fn name(key: u32) -> String {
    format!("long-{key}")
}
