//! Who asks for a vote, and who asks for a transfer of the leadership.

use openraft::raft::{TransferLeaderRequest, VoteRequest};

use super::sender::Sender;
use super::term::{check_term, most_term};
use super::wrong::Wrong;
use crate::env::Env;
use crate::raft::types::Types;

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

/// Whether `sender` may transfer its leadership.
///
/// # Errors
/// What is wrong with it.
pub fn check_transfer_leader<E: Env>(request: &TransferLeaderRequest<Types<E>>, sender: Sender) -> Result<(), Wrong> {
    let vote = *request.from_leader();
    sender.leads(vote)?;
    match request.last_log_id().filter(|id| id.leader_id.term > vote.leader_id.term) {
        Some(&id) => Err(Wrong::Later { id, vote }),
        None => Ok(()),
    }
}
