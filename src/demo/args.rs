//! The flags of `demo`, and its course.

use std::io::ErrorKind;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;

use clap::Args;

use super::cluster::Cluster;
use super::directory::DemoDir;
use super::events::Events;
use super::{prompt, script};
use crate::cli::{Exit, Failure, check_partitions};

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// How many nodes: 1, 3 or 5
    #[arg(long, default_value_t = 3, value_parser = odd_count)]
    nodes: u16,
    /// Run this file with sh instead of a prompt; its exit code is the demo's
    #[arg(long, value_name = "FILE")]
    run: Option<PathBuf>,
    /// Executors per node [default: the CPUs shared out]
    #[arg(long, value_name = "N")]
    shards: Option<NonZeroU16>,
    /// Data partitions, at most 4096
    #[arg(long, value_name = "N", default_value = "16")]
    partitions: NonZeroU32,
}

fn odd_count(text: &str) -> Result<u16, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("a demo has 1, 3 or 5 nodes".to_owned()),
    }
}

/// Starts the cluster, hands it to the prompt or the script, and takes everything away again.
pub fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    if let Some(file) = &args.run
        && (!file.exists() || file.is_dir())
    {
        return Err(Failure::Usage(format!("--run {}: there is no such file", file.display())));
    }
    check_partitions(args.partitions)?;
    let failed = |what: &str, error: std::io::Error| Failure::Other(Exit::Internal, format!("{what}: {error}"));
    let mut events = Events::watch().map_err(|error| failed("cannot watch for signals", error))?;
    let dir = DemoDir::make().map_err(|error| failed("cannot make a directory on a disk", error))?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let share = u16::try_from(cpus / usize::from(args.nodes)).unwrap_or(u16::MAX).max(1);
    let shards = args.shards.map_or(share, NonZeroU16::get);
    let mut cluster = Cluster::start(&dir, args.nodes, shards, args.partitions.get())
        .map_err(|error| failed("cannot start the nodes", error))?;
    let end = match cluster.wait_until_led(&mut events)? {
        Some(end) => Ok(end),
        None => {
            let readable = |error: std::io::Error| match error.kind() {
                // The reader of the output has seen enough.
                ErrorKind::BrokenPipe => Failure::Output(error),
                _ => failed("the demo broke off", error),
            };
            match &args.run {
                Some(file) => script::run(file, &cluster, &mut events).map_err(readable),
                None => prompt::run(&mut cluster, &mut events).map_err(readable),
            }
        }
    };
    drop(cluster);
    drop(dir);
    Ok(end?.exit())
}
