//! What is fixed when a cluster is made.

use kahuna_protocol::meta::{Replica, Settings};
use kahuna_protocol::{ClusterId, ReplicaId};
use rkyv::{Archive, Deserialize, Serialize};

/// What is fixed when a cluster is made: minted by its lowest node, adopted by the others.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Founding {
    /// Id that all members agreed on.
    pub cluster: ClusterId,
    /// The meta group's first voters, in order of node id.
    pub members: Vec<Replica>,
    /// How many data partitions.
    pub partitions: u32,
    /// What every replica agrees on.
    pub settings: Settings,
}

/// The configuration contradicts the founding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// In the number of data partitions.
    #[error("the cluster was made with {found} partitions, and --partitions says {given}; leave the flag out")]
    Partitions {
        /// Number that the cluster was made with.
        found: u32,
        /// Number that `--partitions` gives.
        given: u32,
    },
    /// In how far clocks may be apart, in milliseconds: this node would judge clocks, and what others stamped, by another bound
    /// than the leases that they end.
    #[error(
        "the cluster was made for clocks at most {found}ms apart, and this node is started for {given}ms; give every node \
         --max-clock-skew {found}ms"
    )]
    ClockSkew {
        /// Milliseconds that the cluster was made with.
        found: u32,
        /// Milliseconds that this node is started with.
        given: u32,
    },
}

impl Founding {
    /// Whether a node of this configuration can belong to the cluster: `partitions` if it gives a number, and `settings`.
    ///
    /// # Errors
    /// [`Misfit`].
    pub fn fits(&self, partitions: Option<u32>, settings: &Settings) -> Result<(), Misfit> {
        if let Some(given) = partitions.filter(|&given| given != self.partitions) {
            return Err(Misfit::Partitions { found: self.partitions, given });
        }
        let (found, given) = (self.settings.max_clock_skew_ms, settings.max_clock_skew_ms);
        if found == given { Ok(()) } else { Err(Misfit::ClockSkew { found, given }) }
    }

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
            if replica == ReplicaId(0) || self.members[..at].iter().any(twice) {
                return Err(format!(
                    "its cluster has node {node}, or replica {replica}, or data directory {incarnation:016x}, twice, or a \
                     replica 0"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_to_what_was_fixed_when_its_cluster_was_made() {
        let settings = Settings::default();
        let founding = Founding { cluster: ClusterId([1; 16]), members: Vec::new(), partitions: 16, settings };
        assert_eq!(founding.fits(None, &settings), Ok(()));
        assert_eq!(founding.fits(Some(16), &settings), Ok(()));
        assert_eq!(founding.fits(Some(8), &settings), Err(Misfit::Partitions { found: 16, given: 8 }));
        let wider = Settings { max_clock_skew_ms: 1_000, ..settings };
        assert_eq!(founding.fits(None, &wider), Err(Misfit::ClockSkew { found: 250, given: 1_000 }));
        let more_history = Settings { history_revisions: 99, ..settings };
        assert_eq!(founding.fits(None, &more_history), Ok(()), "replicas go by the founding's");
    }
}
