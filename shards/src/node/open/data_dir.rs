//! Opening a data directory: format a fresh one, refuse a foreign one, cut the logs anew for another shard count.

use std::io;
use std::path::PathBuf;

use kahuna_protocol::{Incarnation, NodeId};
use kahuna_wal::Disk;

use crate::config::{NodeConfig, PeerSpec};
use crate::manifest::founding::Misfit;
use crate::node::lock::LOCK_FILE;
use crate::node::manifest::{Manifest, ManifestError, UNFINISHED_MANIFEST};

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The manifest cannot be read or written, or is not valid.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The system refused to make or list the directory.
    #[error("{path}: {source}")]
    Io {
        /// File or directory of the refused operation.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// It holds files but no manifest.
    #[error("{path} holds other files (such as {file}) and no Kahuna data; give an empty or a new directory")]
    Foreign {
        /// Data directory of another node.
        path: PathBuf,
        /// One of the files.
        file: String,
    },
    /// Another node's data.
    #[error("{path} holds the data of node {found}, and this is node {given}; correct --node-id or --data-dir")]
    OtherNode {
        /// Data directory of another cluster.
        path: PathBuf,
        /// In the manifest.
        found: NodeId,
        /// In the configuration.
        given: NodeId,
    },
    /// The configuration contradicts what was fixed when the cluster was made.
    #[error("{path}: {source}")]
    OtherCluster {
        /// Data directory of this node.
        path: PathBuf,
        /// What differs.
        source: Misfit,
    },
    /// The configuration lists peers, but not this node.
    #[error("--peers does not list this node, number {0}")]
    NotListed(NodeId),
    /// A node number or an address stands twice in the list of peers, or a node has number 0.
    #[error(
        "--peers lists {0} twice, or as node 0; every node has a number of its own, from 1, and an address of its own"
    )]
    PeersNotDistinct(PeerSpecText),
}

/// One entry of `--peers`, as the operator wrote it.
#[derive(Debug)]
pub struct PeerSpecText(pub PeerSpec);

impl std::fmt::Display for PeerSpecText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.0.node, self.0.address)
    }
}

/// Reads the directory's manifest, or formats an empty directory under `incarnation`.
///
/// A node that is still pending takes the configuration's peers, if it lists any; one that belongs to a cluster keeps what
/// was fixed then.
///
/// # Errors
/// See [`DataDirError`]; nothing was changed then.
pub async fn open_or_format<D: Disk>(
    disk: &D,
    config: &NodeConfig,
    incarnation: Incarnation,
) -> Result<Manifest, DataDirError> {
    let path = &config.data_dir;
    let failed = |source| DataDirError::Io { path: path.clone(), source };
    let peers = listed_peers(config)?;
    disk.create_dir_all(path).await.map_err(failed)?;
    let Some(mut manifest) = Manifest::read(disk, path).await? else {
        let files = disk.list(path).await.map_err(failed)?;
        let ours = |name: &str| name == LOCK_FILE || name == UNFINISHED_MANIFEST;
        if let Some(foreign) = files.into_iter().find(|file| !ours(&file.name)) {
            return Err(DataDirError::Foreign { path: path.clone(), file: foreign.name });
        }
        let manifest = Manifest {
            node: config.node,
            incarnation,
            peers,
            founding: None,
            shards: config.shards,
            log_set: 0,
            losses: 0,
            lost_logs: Vec::new(),
        };
        manifest.write(disk, path).await?;
        return Ok(manifest);
    };
    // Its writer may have been killed before the name was durable. All later steps rely on this manifest: a power loss must
    // not bring back the one before.
    disk.sync_dir(path).await.map_err(failed)?;
    if manifest.node != config.node {
        return Err(DataDirError::OtherNode { path: path.clone(), found: manifest.node, given: config.node });
    }
    match &manifest.founding {
        Some(founding) => {
            let fits = founding.fits(config.partitions, &config.settings);
            fits.map_err(|source| DataDirError::OtherCluster { path: path.clone(), source })?;
            manifest.mend(disk, path).await?;
            Ok(manifest)
        }
        None => {
            // Without a list the node would found a cluster of its own, beside the one it was to form with others.
            if !config.peers.is_empty() {
                manifest.peers = peers;
            }
            manifest.write(disk, path).await?;
            Ok(manifest)
        }
    }
}

/// The configured peers in order of node id, or this node alone.
///
/// # Errors
/// `PeersNotDistinct`, `NotListed`.
pub fn listed_peers(config: &NodeConfig) -> Result<Vec<(NodeId, String)>, DataDirError> {
    if config.peers.is_empty() {
        return Ok(vec![(config.node, String::new())]);
    }
    let mut peers = config.peers.clone();
    peers.sort();
    for (at, peer) in peers.iter().enumerate() {
        let twice = |other: &PeerSpec| other.node == peer.node || other.address == peer.address;
        if peer.node.0 == 0 || peers[..at].iter().any(twice) {
            return Err(DataDirError::PeersNotDistinct(PeerSpecText(peer.clone())));
        }
    }
    if !peers.iter().any(|peer| peer.node == config.node) {
        return Err(DataDirError::NotListed(config.node));
    }
    Ok(peers.into_iter().map(|peer| (peer.node, peer.address)).collect())
}
