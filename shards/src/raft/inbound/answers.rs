//! What other replicas answer: it counts as acknowledgements and votes, and its votes raise this replica's own.

use std::cell::RefCell;
use std::collections::BTreeMap;

use openraft::raft::VoteResponse;

use super::term::{check_term, most_term};
use super::wrong::Wrong;
use crate::env::Env;
use crate::raft::types::{LogId, Types, Vote};

/// What is heeded of the vote with which the replica `from` refuses `asked`, a vote of this replica. One that names this
/// replica would make it a leader that nobody elected: only its term counts.
///
/// # Errors
/// `TermAhead`.
pub fn heeded<E: Env>(asked: Vote, theirs: Vote, from: u64) -> Result<Vote, Wrong> {
    check_term(theirs, most_term::<E>())?;
    let is_own = theirs.leader_id.voted_for == asked.leader_id.voted_for;
    Ok(if is_own { Vote::new(theirs.leader_id.term, from) } else { theirs })
}

/// What is heeded of the answer of `from` to a request for the vote `asked`. Whoever is asked may stand by an earlier vote of
/// this replica; before a `trial`, the question whether a vote would be given, there is none of its term.
///
/// # Errors
/// `TermAhead`.
pub fn voted<E: Env>(
    asked: Vote,
    is_trial: bool,
    answer: VoteResponse<Types<E>>,
    from: u64,
) -> Result<VoteResponse<Types<E>>, Wrong> {
    let theirs = answer.vote;
    let is_asked = !is_trial && theirs.leader_id == asked.leader_id;
    let is_earlier = theirs.leader_id.term < asked.leader_id.term;
    let vote = if is_asked || is_earlier { theirs } else { heeded::<E>(asked, theirs, from)? };
    Ok(VoteResponse { vote, ..answer })
}

/// How far each follower has acknowledged the log, under the vote of this replica's leadership.
#[derive(Debug, Default)]
pub struct Acknowledged(RefCell<BTreeMap<u64, (Vote, LogId)>>);

impl Acknowledged {
    /// A follower has everything up to `last`.
    pub fn note(&self, follower: u64, vote: Vote, last: Option<LogId>) {
        let Some(last) = last else { return };
        let mut followers = self.0.borrow_mut();
        let known = followers.entry(follower).or_insert((vote, last));
        if known.0 != vote || known.1 < last {
            *known = (vote, last);
        }
    }

    /// Whether a follower may say that it does not have `previous`.
    ///
    /// # Errors
    /// When it has acknowledged that entry, or there is none.
    pub fn check_conflict(&self, follower: u64, vote: Vote, previous: Option<LogId>) -> Result<(), Wrong> {
        let Some(previous) = previous else { return Err(Wrong::Answer("is a conflict with the empty log")) };
        match self.0.borrow().get(&follower) {
            Some((of, last)) if *of == vote && *last >= previous => {
                Err(Wrong::Answer("takes back what was acknowledged"))
            }
            _ => Ok(()),
        }
    }
}
