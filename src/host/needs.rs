//! What a node asks of its host, and the checks in order.

use std::net::SocketAddr;
use std::path::PathBuf;

use kahuna_shards::admission::{FEWEST_CLIENTS, own_files};
use kahuna_shards::config::{DEFAULT_PARTITIONS, MAX_PARTITIONS, NodeConfig};

use super::finding::Finding;
use super::{data_dir, ports, resources, uring};

/// Files of a log that has just been made: the one it writes to, the next one, and the reserve.
const LOG_SEGMENTS: u64 = 4;

/// What is checked.
#[derive(Clone, Debug)]
pub struct Needs {
    /// How many shards shall run.
    pub shards: u16,
    /// The data directory, which may not exist yet.
    pub data_dir: PathBuf,
    /// How much room a fresh node's logs take, in bytes.
    pub log_bytes: u64,
    /// The addresses that shall be listened on, each with the flag that sets it.
    pub listen: Vec<(&'static str, SocketAddr)>,
    /// How many descriptors it takes, with those of some clients.
    pub open_files: u64,
    /// Whether data in memory is accepted.
    pub allow_tmpfs: bool,
}

impl Needs {
    /// What `config` needs.
    pub fn of(config: &NodeConfig, allow_tmpfs: bool) -> Self {
        // More are refused by the start itself, with the reason.
        let partitions = config.partitions.unwrap_or(DEFAULT_PARTITIONS).min(MAX_PARTITIONS);
        Self {
            shards: config.shards,
            data_dir: config.data_dir.clone(),
            log_bytes: u64::from(config.shards) * config.segment_bytes * LOG_SEGMENTS,
            listen: vec![("--listen", config.listen), ("--peer-listen", config.peer_listen)],
            open_files: own_files(config.shards, config.peers.len(), partitions) + FEWEST_CLIENTS,
            allow_tmpfs,
        }
    }
}

/// Runs every check that the ones before leave a sense: what hangs on a failed one is left out.
pub fn check(needs: &Needs) -> Vec<Finding> {
    let memlock = resources::memlock(needs.shards);
    let ring = uring::check(memlock.result.is_ok());
    let dir = data_dir::writable(&needs.data_dir);
    let has_ring = ring.as_ref().is_some_and(|finding| finding.result.is_ok());
    let has_dir = dir.result.is_ok();
    let mut findings: Vec<Finding> = ring.into_iter().collect();
    findings.extend([memlock, resources::open_files(needs.shards, needs.open_files), dir]);
    findings.push(data_dir::durable(&needs.data_dir, needs.allow_tmpfs));
    if has_dir {
        findings.push(data_dir::direct(&needs.data_dir, needs.allow_tmpfs));
        findings.extend(data_dir::room(&needs.data_dir, needs.log_bytes));
        findings.push(data_dir::unlocked(&needs.data_dir));
    }
    // The manifest is read through io_uring.
    if has_dir && has_ring {
        findings.push(data_dir::format(&needs.data_dir));
    }
    findings.extend(needs.listen.iter().map(|(flag, address)| ports::free(flag, *address)));
    findings
}
