//! What other replicas answer: it counts as acknowledgements and votes, and its votes raise this replica's own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use openraft::raft::VoteResponse;

use super::term::{check_term, most_term};
use super::wrong::Wrong;
use crate::env::Env;
use crate::raft::types::{LogId, Types, Vote};

/// The part that counts of the vote with which the replica `from` refuses `asked`, a vote of this replica. A vote that
/// names this replica would make it a leader without an election: only its term counts.
///
/// # Errors
/// `TermAhead`.
pub fn heeded<E: Env>(asked: Vote, theirs: Vote, from: u64) -> Result<Vote, Wrong> {
    check_term(theirs, most_term::<E>())?;
    let is_own = theirs.leader_id.voted_for == asked.leader_id.voted_for;
    Ok(if is_own { Vote::new(theirs.leader_id.term, from) } else { theirs })
}

/// The part that counts of the answer of `from` to a request for the vote `asked`. The other replica may still hold an
/// earlier vote for this one; before a `trial`, the question whether a vote would be given, there is none of its term.
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

/// What one follower has acknowledged, under one vote.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    vote: Vote,
    /// The end of what it has in common with this log.
    pub last: LogId,
    /// The last entry that it knows is committed.
    committed: Option<LogId>,
    /// When it acknowledged something last, as time since boot.
    pub at: Duration,
}

impl Progress {
    /// Whether the follower has everything up to `end`, and knows that it is committed.
    pub fn knows(&self, end: Option<LogId>) -> bool {
        Some(self.last) == end && self.committed == end
    }
}

/// How far each follower has acknowledged the log, under the vote of this replica's leadership.
#[derive(Debug, Default)]
pub struct Acknowledged(RefCell<BTreeMap<u64, Progress>>);

impl Acknowledged {
    /// At `now` a follower acknowledged that it has everything up to `last`, in answer to a message with the commit
    /// `committed`: the follower does not take over the part of the commit behind `last`.
    pub fn note(&self, follower: u64, vote: Vote, last: Option<LogId>, committed: Option<LogId>, now: Duration) {
        let Some(last) = last else { return };
        let told = Progress { vote, last, committed: committed.min(Some(last)), at: now };
        let mut followers = self.0.borrow_mut();
        let known = followers.entry(follower).or_insert(told);
        if known.vote == vote {
            *known = Progress { last: known.last.max(last), committed: known.committed.max(told.committed), ..told };
        } else {
            *known = told;
        }
    }

    /// What `follower` has acknowledged under `vote`.
    pub fn progress(&self, follower: u64, vote: Vote) -> Option<Progress> {
        self.0.borrow().get(&follower).filter(|progress| progress.vote == vote).copied()
    }

    /// The node of `follower` was away: the commits that it knew count no more.
    pub fn forget_commits(&self, follower: u64) {
        if let Some(progress) = self.0.borrow_mut().get_mut(&follower) {
            progress.committed = None;
        }
    }

    /// Whether a follower may answer that it does not have `previous`.
    ///
    /// # Errors
    /// When it has acknowledged that entry, or there is none.
    pub fn check_conflict(&self, follower: u64, vote: Vote, previous: Option<LogId>) -> Result<(), Wrong> {
        let Some(previous) = previous else { return Err(Wrong::Answer("is a conflict with the empty log")) };
        match self.progress(follower, vote) {
            Some(progress) if progress.last >= previous => Err(Wrong::Answer("takes back what was acknowledged")),
            _ => Ok(()),
        }
    }
}
