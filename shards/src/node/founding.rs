//! What is fixed when a cluster is made.

use kahuna_protocol::meta::{Replica, Settings};
use rkyv::{Archive, Deserialize, Serialize};

/// What is fixed when a cluster is made: minted by its lowest node, adopted by the others.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Founding {
    /// The cluster's id.
    pub cluster: [u8; 16],
    /// The meta group's first voters, in order of node id.
    pub members: Vec<Replica>,
    /// How many data partitions.
    pub partitions: u32,
    /// What every replica agrees on.
    pub settings: Settings,
}

impl Founding {
    /// Whether a cluster can have been made so.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn check(&self) -> Result<(), String> {
        if self.partitions == 0 {
            return Err("its cluster has no partitions".to_owned());
        }
        if self.members.is_empty() {
            return Err("its cluster has no members".to_owned());
        }
        for (at, member) in self.members.iter().enumerate() {
            let Replica { replica, node, incarnation } = *member;
            let twice =
                |other: &Replica| other.node == node || other.replica == replica || other.incarnation == incarnation;
            if replica == 0 || self.members[..at].iter().any(twice) {
                return Err(format!(
                    "its cluster has node {node}, or replica {replica}, or data directory {incarnation:016x}, twice, or a \
                     replica 0"
                ));
            }
        }
        Ok(())
    }
}
