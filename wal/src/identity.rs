//! Who a log belongs to, and which place on disk a batch was written for.

use std::fmt;

use crc32fast::Hasher;

use crate::format::Position;

/// The owner of a log: written into every segment, and part of every checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// Id of the cluster, as big-endian bytes.
    pub cluster: [u8; 16],
    /// The node's incarnation, minted when its data directory was formatted.
    pub incarnation: u64,
    /// The shard within the node.
    pub shard: u16,
}

impl fmt::Display for LogIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, incarnation, shard } = self;
        let cluster = u128::from_be_bytes(*cluster);
        write!(f, "shard {shard} of the data directory {incarnation:016x} in cluster {cluster:032x}")
    }
}

/// What seeds the checksums of a batch: bytes that were written for another log, another use of the file, another place or
/// another run never verify here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub identity: LogIdentity,
    /// The segment's generation: rises with every use of a file.
    pub generation: u64,
    /// Where the batch begins.
    pub position: Position,
}

impl Place {
    /// A checksum that already took in the place and the run.
    pub fn hasher(&self, run: u64) -> Hasher {
        let mut hasher = Hasher::new();
        hasher.update(&self.identity.cluster);
        hasher.update(&self.identity.incarnation.to_le_bytes());
        hasher.update(&self.identity.shard.to_le_bytes());
        hasher.update(&self.generation.to_le_bytes());
        hasher.update(&self.position.segment.to_le_bytes());
        hasher.update(&self.position.offset.to_le_bytes());
        hasher.update(&run.to_le_bytes());
        hasher
    }
}
