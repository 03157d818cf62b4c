//! Whether a replica believes in a leader: then its election timer is off, and no other candidate gets its pre-vote.
//!
//! ```text
//!   a voter leads, by a committed vote ────────────────┐
//!   a message of it came, in this term ────────────────┼──▶ believed
//!   its node's pulses come, under the boot of that one ┤
//!   its shard there goes on ───────────────────────────┤
//!   it has not resigned ───────────────────────────────┘
//! ```
//! A leader lives as long as its node and its shard there do: the pulses of the node prove that, so a group at rest sends
//! nothing. A leader that lost its leadership while its node lives on campaigns by itself, and the replicas that believe in
//! it give it their pre-votes.

use kahuna_protocol::ReplicaId;

use super::leadership::Leader;

/// The last message that a replica took of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    pub term: u64,
    /// The boot of the node that sent it.
    pub boot: u64,
}

/// What a replica knows of its group's leader.
#[derive(Clone, Copy, Debug)]
pub struct Belief {
    pub own: ReplicaId,
    /// The term, and who leads in it.
    pub leader: Leader,
    /// Whether that one is a voter of the membership in force.
    pub votes: bool,
    /// What was heard last.
    pub heard: Option<Heard>,
    /// Boot id under which pulses of the leader's node arrive; `None` if the leader's shard there is stalled.
    pub pulsing: Option<u64>,
    /// The last term whose leader is known to have resigned.
    pub resigned: Option<u64>,
}

impl Belief {
    /// Whether there is a leader that will be heard of.
    pub fn holds(&self) -> bool {
        let is_another = self.leader.replica.is_some_and(|leader| leader != self.own);
        let heard = self.heard.filter(|heard| heard.term == self.leader.term);
        let lives = heard.is_some_and(|heard| self.pulsing == Some(heard.boot));
        is_another && self.votes && lives && !self.has_resigned()
    }

    /// Whether the leader of this term gave its leadership up.
    pub fn has_resigned(&self) -> bool {
        self.resigned == Some(self.leader.term)
    }
}

#[cfg(test)]
mod tests {
    use kahuna_protocol::Incarnation;

    use super::*;

    const TERM: u64 = 4;
    const BOOT: u64 = 77;

    fn belief() -> Belief {
        let leader =
            Leader { term: TERM, replica: Some(ReplicaId(2)), incarnation: Some(Incarnation(20)), leading: false };
        let heard = Some(Heard { term: TERM, boot: BOOT });
        Belief { own: ReplicaId(1), leader, votes: true, heard, pulsing: Some(BOOT), resigned: Some(TERM - 1) }
    }

    /// Claim: each of the conditions is needed.
    #[test]
    fn a_leader_is_believed_in_while_its_node_lives_on() {
        assert!(belief().holds());
        let of = |change: fn(&mut Belief)| {
            let mut changed = belief();
            change(&mut changed);
            changed.holds()
        };
        let unbelieved: [fn(&mut Belief); 9] = [
            |it| it.leader.replica = None,
            |it| it.leader.replica = Some(ReplicaId(1)),
            |it| it.votes = false,
            |it| it.heard = None,
            |it| it.heard = Some(Heard { term: TERM - 1, boot: BOOT }),
            |it| it.heard = Some(Heard { term: TERM, boot: BOOT + 1 }),
            |it| it.pulsing = None,
            |it| it.pulsing = Some(BOOT + 1),
            |it| it.resigned = Some(TERM),
        ];
        for (at, change) in unbelieved.into_iter().enumerate() {
            assert!(!of(change), "change {at}");
        }
    }
}
