//! What no honest replica sends.

use kahuna_machine::ApplyError;
use kahuna_protocol::Incarnation;

use crate::raft::types::{LogId, Vote};

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It comes under the number of the replica that it is sent to.
    #[error("it comes under this replica's own number")]
    OwnNumber,
    /// Its sender is known to have another data directory.
    #[error("its sender lives in the data directory {member:016x}, and the link is of {link:016x}")]
    Foreign {
        /// Data directory of the sender by the membership.
        member: Incarnation,
        /// Data directory of the link that the message arrived over.
        link: Incarnation,
    },
    /// It is sent in the name of another replica.
    #[error("it speaks for another replica, under the vote {0}")]
    NotItself(Vote),
    /// A leader is one whose vote is committed.
    #[error("it claims to lead under the vote {0}, which is not committed")]
    NotElected(Vote),
    /// A vote that a majority granted is not requested again.
    #[error("it asks for the vote {0}, which is committed")]
    Elected(Vote),
    /// The terms would run out.
    #[error("its term {term} is above {most}, the highest that there can be today")]
    TermAhead {
        /// Term of the message's vote.
        term: u64,
        /// Highest term that is accepted today.
        most: u64,
    },
    /// Log ids rise.
    #[error("the log id {after} stands behind {before}")]
    Order {
        /// Log id that comes first in the message.
        before: LogId,
        /// The one behind it.
        after: LogId,
    },
    /// A log ends with the term of its leader.
    #[error("the log id {id} is of a later term than the vote {vote}")]
    Later {
        /// Log id of an entry.
        id: LogId,
        /// Vote of the sender, of an earlier term.
        vote: Vote,
    },
    /// The commit is another entry than the log has at that index.
    #[error("the commit {0} is not an entry of its log")]
    Commit(LogId),
    /// What is committed stays.
    #[error("{id} contradicts {committed}, which is committed")]
    Committed {
        /// Log id of an entry of the message.
        id: LogId,
        /// What is known to be committed.
        committed: LogId,
    },
    /// A leader's log only grows.
    #[error("{id} contradicts what the leader of {vote} said before")]
    TakenBack {
        /// Log id of an entry of the message.
        id: LogId,
        /// Vote of the leader that sent another entry there.
        vote: Vote,
    },
    /// One membership is committed before the next one is proposed.
    #[error("it takes back the membership at {0}, which another one followed")]
    Membership(u64),
    /// A membership without voters, or one that a snapshot cannot have.
    #[error("the membership at {0} is none")]
    NoMembership(u64),
    /// A replica id stands for one data directory.
    #[error("the membership at {index} has replica {replica} in another data directory")]
    Moved {
        /// Where the membership stands.
        index: u64,
        /// Replica id that already stands for another data directory.
        replica: u64,
    },
    /// Indices must not run out.
    #[error("the index of {0} is too high")]
    Far(LogId),
    /// The commands of an entry.
    #[error("the entry {id}: {source}")]
    Batch {
        /// Log id of the entry whose commands are wrong.
        id: LogId,
        /// What is wrong.
        source: ApplyError,
    },
    /// An answer that does not belong to what was asked.
    #[error("the answer {0}")]
    Answer(&'static str),
}
