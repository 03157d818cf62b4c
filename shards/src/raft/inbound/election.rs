//! Who asks for a vote, and who hands a leadership over.

use openraft::raft::{TransferLeaderRequest, VoteRequest};

use super::wrong::Wrong;
use super::{Sender, most_term};
use crate::env::Env;
use crate::raft::types::{Types, Vote};

/// Whether the term of `vote` is at most `most`, see [`most_term`].
///
/// # Errors
/// `TermAhead`.
pub(super) fn check_term(vote: Vote, most: u64) -> Result<(), Wrong> {
    let term = vote.leader_id.term;
    if term > most { Err(Wrong::TermAhead { term, most }) } else { Ok(()) }
}

/// Whether `sender` may ask for this vote, or whether it would get it.
///
/// # Errors
/// What is wrong with it.
pub fn check_vote_request<E: Env>(request: &VoteRequest<Types<E>>, sender: Sender) -> Result<(), Wrong> {
    let vote = request.vote;
    sender.speaks_for(vote)?;
    check_term(vote, most_term::<E>())?;
    if vote.committed {
        return Err(Wrong::Elected(vote));
    }
    // A candidate's term is above every one that it has seen.
    match request.last_log_id.filter(|id| id.leader_id.term >= vote.leader_id.term) {
        Some(id) => Err(Wrong::Later { id, vote }),
        None => Ok(()),
    }
}

/// Whether `sender` may hand its leadership over.
///
/// # Errors
/// What is wrong with it.
pub fn check_take_over<E: Env>(request: &TransferLeaderRequest<Types<E>>, sender: Sender) -> Result<(), Wrong> {
    let vote = *request.from_leader();
    sender.leads(vote)?;
    match request.last_log_id().filter(|id| id.leader_id.term > vote.leader_id.term) {
        Some(&id) => Err(Wrong::Later { id, vote }),
        None => Ok(()),
    }
}
