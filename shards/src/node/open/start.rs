//! Starting a node on Linux: everything that happens before and after its shards run.

use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};

use kahuna_protocol::{ClusterId, Incarnation, ShardId};
use kahuna_wal::{UringDisk, block_on, wait_for_writers};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::data_dir::{DataDirError, open_or_format};
use super::error::NodeStartError;
use super::log_sets::{remove_other_log_sets, say_held};
use super::ports::OwnedPort;
use super::reshard::fit_shards;
use super::setup::{BootNumbers, Setup, files_of, setups};
use crate::admission::FEWEST_CLIENTS;
use crate::config::{MAX_PARTITIONS, NodeConfig};
use crate::env::{Env, say_in_background};
use crate::linux::{self, Linux, ShardOptions, set_wall_clock_offset_ms, spawn_shard};
use crate::node::handle::NodeHandle;
use crate::node::lock::DirLock;
use crate::node::manifest::Manifest;
use crate::node::runner::Runner;

/// Entries of each shard's own ring.
const RING_ENTRIES: u32 = 256;

/// Starts a node. Returns when every shard listens; the node may still wait for its peers then.
///
/// # Errors
/// See [`NodeStartError`]. What goes wrong later ends the process with a stated exit code.
pub fn start(config: NodeConfig) -> Result<NodeHandle, NodeStartError> {
    if let Some(given) = config.partitions.filter(|&given| given > MAX_PARTITIONS) {
        return Err(NodeStartError::Partitions(given));
    }
    config.timing.check()?;
    say_in_background();
    let dir = std::path::absolute(&config.data_dir).map_err(|source| io_error(&config.data_dir, source))?;
    let mut config = NodeConfig { data_dir: dir.clone(), ..config };
    if config.has_one_door() {
        return Err(NodeStartError::OneDoor(config.listen));
    }
    let lock = DirLock::acquire(&dir).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => NodeStartError::Locked(dir.display().to_string()),
        _ => io_error(&dir, error),
    })?;
    let manifest = Arc::new(prepare(&config)?);
    let needed = files_of(&config, &manifest) + FEWEST_CLIENTS;
    if let Some(limit) = raise_open_files().filter(|&limit| limit < needed) {
        return Err(NodeStartError::OpenFiles { limit, needed });
    }
    set_wall_clock_offset_ms(config.wall_clock_offset_ms);
    let own = |address| OwnedPort::take(address).map_err(|source| NodeStartError::Listen { address, source });
    let (client_port, peer_port) = (own(config.listen)?, own(config.peer_listen)?);
    let (client_address, peer_address) = (client_port.address, peer_port.address);
    (config.listen, config.peer_listen) = (client_address, peer_address);
    let config = Arc::new(config);
    let numbers = BootNumbers { boot_id: rand::random(), mint: ClusterId(rand::random()) };
    let (listening, listened) = mpsc::channel();
    let (stop, stopped) = flume::bounded::<()>(1);
    let mut shards = Vec::new();
    for (index, setup) in
        setups::<Linux>(config.clone(), manifest, numbers, &listening, &stopped).into_iter().enumerate()
    {
        let cpu = (!config.cpus.is_empty()).then(|| config.cpus[index % config.cpus.len()]);
        let options = ShardOptions { cpu, io_memory: config.io_memory_bytes, ..ShardOptions::new(index) };
        shards.push(spawn_shard(options, move || run_shard(setup)).map_err(NodeStartError::Shard)?);
    }
    for _ in 0..config.shards {
        let outcome = listened.recv().unwrap_or_else(|_| Err(io::Error::other("a shard ended before it listened")));
        outcome.map_err(|source| NodeStartError::Listen { address: config.listen, source })?;
    }
    drop((client_port, peer_port));
    Ok(NodeHandle::new(config.node, client_address, peer_address, stop, shards, lock))
}

/// Raises the soft limit of open files to the hard one; returns what holds then, `None` for no limit.
fn raise_open_files() -> Option<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where that is not allowed the soft limit counts.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    Linux::most_open_files()
}

async fn run_shard(setup: Setup<Linux>) {
    if let Some(runner) = Runner::<Linux>::start(setup, linux::disk()) {
        runner.run().await;
    }
}

/// Opens or formats the data directory, and cuts its logs for the configured number of shards.
fn prepare(config: &NodeConfig) -> Result<Manifest, NodeStartError> {
    let dir = &config.data_dir;
    let disk = UringDisk::new(RING_ENTRIES).map_err(NodeStartError::Shard)?;
    let manifest = block_on(&disk, open_or_format(&disk, config, Incarnation(rand::random::<u64>().max(1))))?;
    for shard in (0..manifest.shards).map(ShardId) {
        wait_for_writers(&manifest.log_dir(dir, shard), say_held).map_err(|source| io_error(dir, source))?;
    }
    remove_other_log_sets(dir, &manifest).map_err(|source| io_error(dir, source))?;
    let fitted = block_on(&disk, fit_shards(&disk, config, manifest))?;
    remove_other_log_sets(dir, &fitted).map_err(|source| io_error(dir, source))?;
    Ok(fitted)
}

fn io_error(path: &Path, source: io::Error) -> NodeStartError {
    NodeStartError::DataDir(DataDirError::Io { path: path.to_owned(), source })
}
