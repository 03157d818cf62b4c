//! The sender of a message.

use kahuna_protocol::{Incarnation, ReplicaId};

use super::wrong::Wrong;
use crate::raft::types::{Membership, Vote};

/// Sender of a message: the replica that the message names, and the data directory that its link has proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Id under which the message was sent.
    pub replica: ReplicaId,
    /// Where the link comes from.
    pub incarnation: Incarnation,
    /// The boot of the node there.
    pub boot: u64,
}

impl Sender {
    /// Whether it can be the sender of a message for the replica `own`, whose group has these members. One that is no
    /// member may be a later one, which this replica has not heard of.
    ///
    /// # Errors
    /// `OwnNumber`, `Foreign`.
    pub fn check(&self, own: ReplicaId, members: &Membership) -> Result<(), Wrong> {
        if self.replica == own {
            return Err(Wrong::OwnNumber);
        }
        match members.get_node(&self.replica.0).filter(|member| member.incarnation != self.incarnation) {
            Some(member) => Err(Wrong::Foreign { member: member.incarnation, link: self.incarnation }),
            None => Ok(()),
        }
    }

    /// Whether `vote` is its own.
    ///
    /// # Errors
    /// `NotItself`.
    pub fn speaks_for(&self, vote: Vote) -> Result<(), Wrong> {
        if vote.leader_id.voted_for == self.replica.0 { Ok(()) } else { Err(Wrong::NotItself(vote)) }
    }

    /// Checks the claim to lead under `vote`.
    ///
    /// # Errors
    /// `NotItself`, `NotElected`.
    pub fn leads(&self, vote: Vote) -> Result<(), Wrong> {
        self.speaks_for(vote)?;
        if vote.committed { Ok(()) } else { Err(Wrong::NotElected(vote)) }
    }
}
