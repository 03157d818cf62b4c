//! Starting a node on Linux: everything that happens before and after its shards run.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use kahuna_protocol::{ClusterId, NodeId};
use kahuna_wal::{UringDisk, block_on, wait_for_writers};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::data_dir::{DataDirError, open_or_format};
use super::lock::DirLock;
use super::manifest::Manifest;
use super::ports::OwnedPort;
use super::reshard::{ReshardError, fit_shards};
use super::runner::{Runner, Setup};
use super::setup::{BootNumbers, files_of, setups};
use crate::admission::FEWEST_CLIENTS;
use crate::config::{MAX_PARTITIONS, NodeConfig, TimingError};
use crate::env::{Env, say_in_background};
use crate::linux::{Linux, ShardHandle, ShardOptions, drive_disk, set_wall_clock_offset_ms, spawn_shard};

/// Entries of each shard's own ring.
const RING_ENTRIES: u32 = 256;

/// Why a node does not start. Nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A cluster of so many partitions would not come up.
    #[error(
        "{0} partitions are too many: a cluster has at most {MAX_PARTITIONS}, whose placement fits one record of the log"
    )]
    Partitions(u32),
    /// Raft would not start with these times.
    #[error(transparent)]
    Timing(#[from] TimingError),
    /// The process may not open as many files as the node itself needs.
    #[error(
        "the limit of open files is {limit}, and this node needs {needed}; set LimitNOFILE={needed} in a systemd unit, or run \
         `sudo prlimit --pid $$ --nofile={needed}:{needed}` in this shell"
    )]
    OpenFiles {
        /// Of the process.
        limit: u64,
        /// By the node, with some clients.
        needed: u64,
    },
    /// Another process holds the data directory.
    #[error("{0} is in use by another process; stop it, or give another --data-dir")]
    Locked(String),
    /// Clients and peers would share one door.
    #[error("{0} cannot be both the clients' address and the peers'; give another port to one of them")]
    OneDoor(SocketAddr),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; free the port or choose another one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The logs could not be cut for another number of shards; the old ones are still valid.
    #[error("cannot move the logs to --shards {shards}: {source}; start with --shards {valid}, which they are for")]
    Reshard {
        /// The number asked for.
        shards: u16,
        /// The number that the logs are for.
        valid: u16,
        /// What went wrong.
        source: ReshardError,
    },
    /// The kernel refused io_uring, memory or a thread.
    #[error("cannot start a shard: {0}; `kahuna check` says what the host lacks")]
    Shard(io::Error),
}

/// A running node. Dropping it leaves the node running: call [`NodeHandle::shutdown`].
#[derive(Debug)]
pub struct NodeHandle {
    node: NodeId,
    client_address: SocketAddr,
    peer_address: SocketAddr,
    stop: flume::Sender<()>,
    shards: Mutex<Vec<ShardHandle<()>>>,
    _lock: DirLock,
}

impl NodeHandle {
    /// The node's number.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Where clients connect, with the port that was taken.
    pub fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// Where peers connect, with the port that was taken.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    /// Begins to drain; returns at once. [`NodeHandle::wait`] returns when the node has stopped.
    pub fn begin_shutdown(&self) {
        // A second call finds the channel full or closed: the node stops already.
        let _ = self.stop.try_send(());
    }

    /// Drains and stops the node: leaderships are handed over, what is in flight is answered, logs are sealed.
    pub fn shutdown(&self) {
        self.begin_shutdown();
        self.wait();
    }

    /// Returns when all shards have stopped.
    pub fn wait(&self) {
        let shards = std::mem::take(&mut *self.shards.lock().unwrap_or_else(PoisonError::into_inner));
        shards.into_iter().for_each(ShardHandle::join);
    }
}

/// Starts a node. Returns when every shard listens; the node may still wait for its peers then.
///
/// # Errors
/// See [`StartError`]. What goes wrong later ends the process with a stated exit code.
pub fn start(config: NodeConfig) -> Result<NodeHandle, StartError> {
    if let Some(given) = config.partitions.filter(|&given| given > MAX_PARTITIONS) {
        return Err(StartError::Partitions(given));
    }
    config.timing.check()?;
    say_in_background();
    let dir = std::path::absolute(&config.data_dir).map_err(|source| io_error(&config.data_dir, source))?;
    let mut config = NodeConfig { data_dir: dir.clone(), ..config };
    if config.has_one_door() {
        return Err(StartError::OneDoor(config.listen));
    }
    let lock = DirLock::acquire(&dir).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => StartError::Locked(dir.display().to_string()),
        _ => io_error(&dir, error),
    })?;
    let manifest = Arc::new(prepare(&config)?);
    let needed = files_of(&config, &manifest) + FEWEST_CLIENTS;
    if let Some(limit) = raise_open_files().filter(|&limit| limit < needed) {
        return Err(StartError::OpenFiles { limit, needed });
    }
    set_wall_clock_offset_ms(config.wall_clock_offset_ms);
    let own = |address| OwnedPort::take(address).map_err(|source| StartError::Listen { address, source });
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
        shards.push(spawn_shard(options, move || run_shard(setup)).map_err(StartError::Shard)?);
    }
    for _ in 0..config.shards {
        let outcome = listened.recv().unwrap_or_else(|_| Err(io::Error::other("a shard ended before it listened")));
        outcome.map_err(|source| StartError::Listen { address: config.listen, source })?;
    }
    drop((client_port, peer_port));
    let shards = Mutex::new(shards);
    Ok(NodeHandle { node: config.node, client_address, peer_address, stop, shards, _lock: lock })
}

/// Raises the soft limit of open files to the hard one; returns what holds then, `None` for no limit.
fn raise_open_files() -> Option<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where that is not allowed the soft limit counts.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    Linux::most_open_files()
}

async fn run_shard(setup: Setup<Linux>) {
    let disk = match UringDisk::new(RING_ENTRIES) {
        Ok(disk) => disk,
        Err(error) => {
            // The starting thread waits for this; if it is gone, the process ends.
            let _ = setup.listening.send(Err(error));
            return;
        }
    };
    Linux::spawn(drive_disk(disk.clone()));
    if let Some(runner) = Runner::<Linux>::start(setup, disk) {
        runner.run().await;
    }
}

/// Opens or formats the data directory, and cuts its logs for the configured number of shards.
fn prepare(config: &NodeConfig) -> Result<Manifest, StartError> {
    let dir = &config.data_dir;
    let disk = UringDisk::new(RING_ENTRIES).map_err(StartError::Shard)?;
    let manifest = block_on(&disk, open_or_format(&disk, config, rand::random::<u64>().max(1)))?;
    for shard in 0..manifest.shards {
        wait_for_writers(&manifest.log_dir(dir, shard), say_held).map_err(|source| io_error(dir, source))?;
    }
    remove_other_log_sets(dir, &manifest).map_err(|source| io_error(dir, source))?;
    let fitted = block_on(&disk, fit_shards(&disk, config, manifest))?;
    remove_other_log_sets(dir, &fitted).map_err(|source| io_error(dir, source))?;
    Ok(fitted)
}

/// Says what the start, or a recovery, waits for.
pub(super) fn say_held(file: &Path) {
    let file = file.display();
    crate::say!(
        "waiting for whoever holds {file}: writes of a process that was killed, or a program that locked it (`fuser {file}`)"
    );
}

/// Removes what an interrupted founding or move left: every set of logs but the valid one, and all of a pending node's.
/// Lost logs stay, for the operator, and so does whatever has another name: a copy that was put aside, for one.
fn remove_other_log_sets(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let valid = manifest.founding.as_ref().map(|_| Manifest::log_set_dir(dir, manifest.log_set));
    let lost = manifest.lost_log_dirs(dir);
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if !is_log_set(&path) || Some(&path) == valid.as_ref() {
            continue;
        }
        if lost.iter().all(|log| !log.starts_with(&path)) {
            fs::remove_dir_all(&path)?;
            continue;
        }
        for log in fs::read_dir(&path)? {
            let log = log?.path();
            if !lost.contains(&log) {
                fs::remove_dir_all(&log)?;
            }
        }
    }
    Ok(())
}

/// Whether it has the name that this program gives to a set of logs.
fn is_log_set(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.strip_prefix("logs-")).and_then(|number| number.parse::<u32>().ok());
    number.is_some_and(|number| Some(Manifest::log_set_dir(Path::new(""), number).as_path()) == name.map(Path::new))
}

fn io_error(path: &Path, source: io::Error) -> StartError {
    StartError::DataDir(DataDirError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_name_of_a_log_set_counts_as_one() {
        for (name, is_set) in
            [("logs-0", true), ("logs-12", true), ("logs-0-damaged", false), ("logs-old", false), ("logs-007", false)]
        {
            assert_eq!(is_log_set(&Path::new("/data").join(name)), is_set, "{name}");
        }
    }
}
