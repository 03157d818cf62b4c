//! A follower's log as it will be once openraft took all that is under way, and whether a claim goes with it.
//!
//! openraft takes messages in the order in which they are handed over, later than that, and the log shows them later still.
//! What is judged is therefore judged against the log with the claims on top that were not answered yet, each taken as
//! openraft takes it. That only ever adds what an honest leader would stand by: that openraft refuses one of them after
//! all, because this replica campaigned meanwhile, makes no honest claim wrong.

use super::claim::{Claim, Run};
use super::term::check_term;
use super::wrong::Wrong;
use crate::raft::entries::Entries;
use crate::raft::types::{LogId, Vote, log_id};

/// What a replica knows of itself.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The highest vote that it has seen.
    pub vote: Vote,
    /// The highest term that it takes from others.
    pub most_term: u64,
    /// The last entry that it knows to be committed.
    pub committed: Option<LogId>,
    /// The last entry that it has in common with the leader of a vote.
    pub shared: Option<(Vote, LogId)>,
    /// The indices of the newest membership in its log and the one before it, which is committed.
    pub memberships: [Option<u64>; 2],
}

/// What the log holds at an index.
enum At {
    /// An entry of this term.
    Term(u64),
    /// It was purged, with later ones up to this term.
    Purged(u64),
    Absent,
}

/// What openraft will do with an append.
enum Fit {
    /// It does not have the entry before.
    Refused,
    /// It takes what is new from this index on.
    New(Option<u64>),
}

/// The log as it is expected to be.
pub struct Expected<'a> {
    entries: &'a Entries,
    vote: Vote,
    most_term: u64,
    committed: Option<LogId>,
    /// In common with the leader of `vote`.
    shared: Option<LogId>,
    memberships: [Option<u64>; 2],
    /// The last entry of a snapshot that is being installed.
    purged: Option<LogId>,
    /// From here on the log is `tail`, not `entries`.
    cut: u64,
    tail: Vec<Run>,
}

impl<'a> Expected<'a> {
    /// A replica that knows `known` and has `entries`, with nothing under way.
    pub fn new(entries: &'a Entries, known: Known) -> Self {
        let Known { vote, most_term, committed, shared, memberships } = known;
        let shared = shared.filter(|shared| shared.0 == vote).map(|shared| shared.1);
        Self { entries, vote, most_term, committed, shared, memberships, purged: None, cut: u64::MAX, tail: Vec::new() }
    }

    /// Whether `vote` is not the newest, so that openraft will refuse what comes under it.
    pub fn is_stale(&self, vote: Vote) -> bool {
        // Votes of one term for different replicas do not compare.
        !matches!(vote.partial_cmp(&self.vote), Some(std::cmp::Ordering::Equal | std::cmp::Ordering::Greater))
    }

    /// Highest vote that this replica has seen.
    pub fn vote(&self) -> Vote {
        self.vote
    }

    /// Whether an honest leader can make this claim.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, claim: &Claim) -> Result<(), Wrong> {
        check_term(claim.vote, self.most_term)?;
        if self.is_stale(claim.vote) {
            return Ok(());
        }
        for run in claim.named() {
            let id = log_id(run.term, run.last);
            if let Some(committed) = self.committed
                && !self.agrees(committed, run)
            {
                return Err(Wrong::Committed { id, committed });
            }
            if let Some(shared) = self.shared.filter(|_| claim.vote == self.vote)
                && !self.agrees(shared, run)
            {
                return Err(Wrong::TakenBack { id, vote: claim.vote });
            }
        }
        if let (Some(previous), Some(commit)) = (claim.previous, claim.commit)
            && self.holds(previous)
            && commit.index <= previous.index
            && !self.agrees(previous, Run::of(commit))
        {
            return Err(Wrong::Commit(commit));
        }
        match self.conflict(claim) {
            Some(from) if Some(from) <= self.memberships[1] => Err(Wrong::Membership(from)),
            _ => Ok(()),
        }
    }

    /// Records a claim that was judged and is handed over; returns the commit to hand over with it. openraft takes the
    /// lower one of this commit and the last entry in common with the leader, so a commit behind that entry does no harm.
    pub fn take(&mut self, claim: &Claim) -> Option<LogId> {
        if self.is_stale(claim.vote) {
            return None;
        }
        if self.vote != claim.vote {
            self.vote = claim.vote;
            self.shared = None;
        }
        let commit = if claim.is_snapshot { self.install(claim) } else { self.append(claim) };
        self.committed = self.committed.max(commit);
        commit
    }

    fn append(&mut self, claim: &Claim) -> Option<LogId> {
        let conflict = self.conflict(claim);
        let Fit::New(new) = self.fit(claim) else {
            conflict.into_iter().for_each(|from| self.truncate(from));
            return None;
        };
        if let Some(new) = new {
            self.truncate(new);
            let runs = claim.runs.iter().filter(|run| run.last >= new);
            self.tail.extend(runs.map(|run| Run { first: run.first.max(new), ..*run }));
            for &index in claim.memberships.iter().filter(|&&index| index >= new) {
                self.memberships = [Some(index), self.memberships[0]];
            }
        }
        self.shared = self.shared.max(claim.last());
        claim.commit.min(self.shared)
    }

    fn install(&mut self, claim: &Claim) -> Option<LogId> {
        let last = claim.previous.filter(|last| Some(*last) > self.committed)?;
        let keeps = matches!(self.at(last.index), At::Term(term) if term == last.leader_id.term);
        if !keeps {
            self.truncate(last.index.saturating_add(1));
            self.tail.clear();
        }
        if !keeps || self.memberships[0] <= Some(last.index) {
            self.memberships = [claim.memberships.first().copied(); 2];
        }
        self.purged = Some(last);
        self.shared = self.shared.max(Some(last));
        Some(last)
    }

    /// Drops the entries at `from` and behind.
    fn truncate(&mut self, from: u64) {
        if from <= self.cut {
            self.cut = from;
            self.tail.clear();
        }
        self.tail.retain(|run| run.first < from);
        if let Some(run) = self.tail.last_mut() {
            run.last = run.last.min(from - 1);
        }
        if self.memberships[0] >= Some(from) {
            self.memberships[0] = self.memberships[1];
        }
    }

    fn at(&self, index: u64) -> At {
        let purged = |purged: LogId| match purged.leader_id.term {
            term if index == purged.index => At::Term(term),
            term => At::Purged(term),
        };
        if let Some(last) = self.purged.filter(|last| index <= last.index) {
            return purged(last);
        }
        if index >= self.cut {
            let run = self.tail.iter().find(|run| (run.first..=run.last).contains(&index));
            return run.map_or(At::Absent, |run| At::Term(run.term));
        }
        match (self.entries.get(index), self.entries.purged()) {
            (Some(entry), _) => At::Term(entry.log_id.leader_id.term),
            (None, Some(last)) if index <= last.index => purged(last),
            (None, _) => At::Absent,
        }
    }

    /// Whether openraft takes this for an entry of its log.
    fn holds(&self, id: LogId) -> bool {
        let is_committed = self.committed.is_some_and(|committed| id.index <= committed.index);
        is_committed || matches!(self.at(id.index), At::Term(term) if term == id.leader_id.term)
    }

    /// Whether `run` can be in a log that has `id` and all that stands before it here. Terms rise on both sides, so that
    /// what holds for the ends holds between them.
    fn agrees(&self, id: LogId, run: Run) -> bool {
        if run.last > id.index && run.term < id.leader_id.term {
            return false;
        }
        run.first > id.index
            || [run.first, run.last.min(id.index)].into_iter().all(|index| match self.at(index) {
                At::Term(term) => term == run.term,
                At::Purged(most) => run.term <= most,
                At::Absent => run.term <= id.leader_id.term,
            })
    }

    fn fit(&self, claim: &Claim) -> Fit {
        if claim.previous.is_some_and(|previous| !self.holds(previous)) {
            return Fit::Refused;
        }
        Fit::New(claim.runs.iter().find_map(|run| self.first_new(*run)))
    }

    /// The first entry of a run that is not here.
    fn first_new(&self, run: Run) -> Option<u64> {
        if self.holds(log_id(run.term, run.last)) {
            return None;
        }
        let (mut from, mut to) = (run.first, run.last);
        while from < to {
            let middle = from + (to - from) / 2;
            if self.holds(log_id(run.term, middle)) { from = middle + 1 } else { to = middle }
        }
        Some(from)
    }

    /// Where openraft will cut its log off because of this claim.
    fn conflict(&self, claim: &Claim) -> Option<u64> {
        let from = match (self.fit(claim), claim.previous) {
            (Fit::Refused, Some(previous)) => previous.index,
            (Fit::New(Some(new)), _) => new,
            _ => return None,
        };
        let is_cut = matches!(self.at(from), At::Term(_));
        // A snapshot takes all along that is not committed.
        let behind = |committed: LogId| committed.index.saturating_add(1);
        is_cut.then(|| if claim.is_snapshot { self.committed.map_or(0, behind) } else { from })
    }
}
