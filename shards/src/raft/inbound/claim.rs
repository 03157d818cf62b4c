//! A leader's claim about its log, from one message, and whether the claim is consistent by itself.

use kahuna_machine::check;
use openraft::raft::AppendEntriesRequest;

use super::wrong::Wrong;
use crate::env::Env;
use crate::raft::encoding::MOST;
use crate::raft::types::{LogId, Member, Membership, Payload, Proposal, SnapshotMeta, Types, Vote, log_id};

/// The highest index that is taken from others. What is appended behind it must be readable, too.
const MOST_CLAIMED: u64 = MOST / 2;

/// Entries of one term, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The index of the first one.
    pub first: u64,
    /// The index of the last one.
    pub last: u64,
    /// Term of every entry in the run.
    pub term: u64,
}

impl Run {
    /// One entry.
    pub fn of(id: LogId) -> Self {
        Self { first: id.index, last: id.index, term: id.leader_id.term }
    }
}

/// A leader's claim about its log: from an append, or from a snapshot, which stands for all entries up to its last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Vote under which the sender claims to lead.
    pub vote: Vote,
    /// The entry before the first new one; the last one of a snapshot.
    pub previous: Option<LogId>,
    /// New entries, as runs of one term each.
    pub runs: Vec<Run>,
    /// What is committed.
    pub commit: Option<LogId>,
    /// The indices of the memberships among the new entries; that of a snapshot's.
    pub memberships: Vec<u64>,
    /// It is a snapshot.
    pub is_snapshot: bool,
}

impl Claim {
    /// The claim of an append, for a replica of a group with these `members`.
    ///
    /// # Errors
    /// When it contradicts itself.
    pub fn of_append<E: Env>(request: &AppendEntriesRequest<Types<E>>, members: &Membership) -> Result<Self, Wrong> {
        let mut claim = Self {
            vote: request.vote,
            previous: request.prev_log_id,
            runs: Vec::new(),
            commit: request.leader_commit,
            memberships: Vec::new(),
            is_snapshot: false,
        };
        for entry in &request.entries {
            claim.push(entry.log_id)?;
            match &entry.payload {
                Payload::Blank => {}
                Payload::Normal(Proposal(batch)) => {
                    check(batch).map_err(|source| Wrong::Batch { id: entry.log_id, source })?;
                }
                Payload::Membership(membership) => {
                    check_membership(entry.log_id.index, membership, members)?;
                    claim.memberships.push(entry.log_id.index);
                }
            }
        }
        claim.check_end()?;
        claim.check_commit()?;
        Ok(claim)
    }

    /// The claim of a snapshot, for a replica of a group with these `members`.
    ///
    /// # Errors
    /// When it contradicts itself.
    pub fn of_snapshot(vote: Vote, meta: &SnapshotMeta, members: &Membership) -> Result<Self, Wrong> {
        let (last, at) = (meta.last_log_id, *meta.last_membership.log_id());
        let membership = at.map_or(0, |at| at.index);
        check_membership(membership, meta.last_membership.membership(), members)?;
        match (at, last) {
            (Some(at), Some(last)) if at.index > last.index || at.leader_id > last.leader_id => {
                return Err(Wrong::Order { before: at, after: last });
            }
            (Some(_), Some(_)) => {}
            _ => return Err(Wrong::NoMembership(membership)),
        }
        let memberships = vec![membership];
        let claim = Self { vote, previous: last, runs: Vec::new(), commit: last, memberships, is_snapshot: true };
        claim.check_end()?;
        Ok(claim)
    }

    /// Adds the entry behind the last one.
    fn push(&mut self, id: LogId) -> Result<(), Wrong> {
        let term = id.leader_id.term;
        if let Some(before) = self.last().filter(|before| before.leader_id.term > term) {
            return Err(Wrong::Order { before, after: id });
        }
        match self.runs.last_mut().filter(|run| run.term == term) {
            Some(run) => run.last = id.index,
            None => self.runs.push(Run::of(id)),
        }
        Ok(())
    }

    /// The last entry that the leader names.
    pub fn last(&self) -> Option<LogId> {
        self.runs.last().map(|run| log_id(run.term, run.last)).or(self.previous)
    }

    /// Terms and indices rise, so that the last ones are the highest.
    fn check_end(&self) -> Result<(), Wrong> {
        if let Some(id) = self.last().max(self.commit).filter(|id| id.index > MOST_CLAIMED) {
            return Err(Wrong::Far(id));
        }
        let later = |id: &LogId| id.leader_id.term > self.vote.leader_id.term;
        match self.last().filter(later).or(self.commit.filter(later)) {
            Some(id) => Err(Wrong::Later { id, vote: self.vote }),
            None => Ok(()),
        }
    }

    /// The commit is one of the entries, or stands before or behind all of them.
    fn check_commit(&self) -> Result<(), Wrong> {
        let (Some(commit), Some(last)) = (self.commit, self.last()) else { return Ok(()) };
        let run = self.runs.iter().find(|run| (run.first..=run.last).contains(&commit.index));
        let fits = match (run, self.previous) {
            _ if commit.index > last.index => commit.leader_id >= last.leader_id,
            (Some(run), _) => run.term == commit.leader_id.term,
            (None, Some(previous)) if commit.index == previous.index => commit == previous,
            (None, Some(previous)) => commit.leader_id <= previous.leader_id,
            (None, None) => false,
        };
        if fits { Ok(()) } else { Err(Wrong::Commit(commit)) }
    }

    /// All that it names, in order, the commit last.
    pub fn named(&self) -> impl Iterator<Item = Run> {
        let single = |id: Option<LogId>| id.map(Run::of);
        single(self.previous).into_iter().chain(self.runs.iter().copied()).chain(single(self.commit))
    }
}

/// Refuses a membership that could elect no replica, or any. A joint one has two configurations. A known replica keeps its
/// data directory.
fn check_membership(index: u64, membership: &Membership, members: &Membership) -> Result<(), Wrong> {
    let configurations = membership.get_joint_config();
    let is_one = matches!(configurations.len(), 1 | 2) && configurations.iter().all(|voters| !voters.is_empty());
    if !is_one {
        return Err(Wrong::NoMembership(index));
    }
    let moved = |(id, member): (&u64, &Member)| members.get_node(id).is_some_and(|known| known != member);
    match membership.nodes().find(|node| moved(*node)) {
        Some((&replica, _)) => Err(Wrong::Moved { index, replica }),
        None => Ok(()),
    }
}
