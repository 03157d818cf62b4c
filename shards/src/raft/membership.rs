//! How one replica of a group takes the place of another, step by step.
//!
//! A replica whose log is gone has forgotten its vote and what it acknowledged: it can never be opened again under its id.
//! A new one, which never voted, comes into the group on the same node. Its group's leader looks at the membership and does
//! what is missing, so that a change of leaders or a restart in between loses nothing:
//!
//! ```text
//!   membership of the group                               what is missing
//!   knows a later replica in that data directory          nothing: this node's view is old      OutOfDate
//!   a lost id is in it without a vote                     take it out                            TakeOut
//!   the new id is not in it                               add it as a learner                    AddLearner
//!   a learner, its log ends far from the leader's         its log                                Wait
//!   a learner that caught up                              its vote, and the lost one out of it   Promote
//!   a joint one in which the new id votes                 the end of that change                 Promote
//!   uniform, the new id votes, no lost id is in it        nothing, once that is committed        Done
//! ```
//! Why this is safe. The new id's first vote is given after a majority of the old voters, none of them a lost one, had the
//! joint membership in their logs, and with it every entry that was ever committed before. The lost id stays in the count
//! until then and never answers: its acknowledgements no longer count, and no majority is reached without another copy.
//! Every membership on the way is one that openraft's joint consensus takes, based on exactly the membership that was
//! looked at, committed or not: only the end has to be committed. A later leader may not have the uniform one, and a
//! replacement that was reported finished is not examined again.

use std::collections::BTreeSet;

use kahuna_protocol::meta::Replacement;
use kahuna_protocol::{Incarnation, ReplicaId};
use openraft::ChangeMembers;
use openraft::raft::Precondition;
use openraft::rt::WatchReceiver as _;

use super::replica::Replica;
use super::types::{Member, Membership};
use crate::env::Env;

/// How far behind the leader's log a learner may be that becomes a voter.
const PROMOTION_LAG: u64 = 64;

/// What a group misses until a replacement is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The membership is ahead of what this node knows of the replacement.
    OutOfDate,
    /// These learners were lost.
    TakeOut(BTreeSet<u64>),
    /// The new replica is no member.
    AddLearner,
    /// It does not have most of the log yet, or a majority does not have the last step yet.
    Wait,
    /// These shall be the voters.
    Promote(BTreeSet<u64>),
    /// Nothing is missing.
    Done,
}

/// The next step of `replacement` under `membership`; `caught_up` is whether the new replica has most of the leader's log.
pub fn next_step(membership: &Membership, replacement: &Replacement, caught_up: bool) -> Step {
    let new = replacement.replica.0;
    let is_lost = |id: &u64| replacement.lost.contains(&ReplicaId(*id));
    let here = |member: &Member| member.incarnation == replacement.incarnation;
    let configurations = membership.get_joint_config();
    let Some(goal) = configurations.last() else { return Step::OutOfDate };
    let foreign = membership.get_node(&new).is_some_and(|member| !here(member));
    if foreign || membership.nodes().any(|(&id, member)| id > new && here(member)) {
        return Step::OutOfDate;
    }
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let strays: BTreeSet<u64> = membership.learner_ids().filter(is_lost).collect();
    if !strays.is_empty() {
        return Step::TakeOut(strays);
    }
    let mut wanted: BTreeSet<u64> = goal.iter().copied().filter(|id| !is_lost(id)).collect();
    wanted.insert(new);
    if configurations.len() == 1 && voters == wanted {
        return Step::Done;
    }
    if wanted.len() > goal.len() {
        // No lost one votes whose place it could take.
        return Step::OutOfDate;
    }
    if voters.contains(&new) {
        return Step::Promote(wanted);
    }
    match membership.get_node(&new) {
        None => Step::AddLearner,
        Some(_) if caught_up => Step::Promote(wanted),
        Some(_) => Step::Wait,
    }
}

impl<E: Env> Replica<E> {
    /// The voters, in order of replica id.
    pub fn voters(&self) -> Vec<(ReplicaId, Incarnation)> {
        let membership = self.server.borrow_watched().membership_config.clone();
        let member = |id: u64| Some((ReplicaId(id), membership.get_node(&id)?.incarnation));
        membership.voter_ids().filter_map(member).collect()
    }

    /// Takes the next step of `replacement`, if this replica leads; returns the step. The caller looks again later: a step
    /// that was refused, or whose end was not observed, is the next one again.
    pub async fn carry_out(&self, replacement: &Replacement) -> Step {
        let (stored, committed) = {
            let server = self.server.borrow_watched();
            (server.membership_config.clone(), server.committed_membership_config.clone())
        };
        if !self.leader().leading {
            return Step::OutOfDate;
        }
        let mut step = next_step(stored.membership(), replacement, self.is_caught_up(replacement.replica.0));
        if step == Step::Done && stored.log_id() != committed.log_id() {
            step = Step::Wait;
        }
        let changes = match &step {
            Step::OutOfDate | Step::Wait | Step::Done => return step,
            Step::TakeOut(ids) => ChangeMembers::RemoveNodes(ids.clone()),
            Step::AddLearner => {
                let member = Member { incarnation: replacement.incarnation };
                ChangeMembers::AddNodes([(replacement.replica.0, member)].into())
            }
            Step::Promote(voters) => ChangeMembers::ReplaceAllVoters(voters.clone()),
        };
        let seen = Precondition::LastMembershipLogId { last_membership_log_id: *stored.log_id() };
        // A refusal is found by the next look.
        drop(self.raft.change_membership_if(changes, false, [seen]).await);
        step
    }

    /// Whether the log of another replica ends close to this leader's.
    fn is_caught_up(&self, id: u64) -> bool {
        let progress = self.links.acknowledged.progress(id, self.server.borrow_watched().vote);
        let last = self.log.with_entries(|entries| entries.last()).map_or(0, |last| last.index);
        progress.is_some_and(|progress| progress.last.index + PROMOTION_LAG >= last)
    }
}

#[cfg(test)]
mod tests {
    use kahuna_protocol::{GroupId, NodeId};

    use super::*;

    /// Configurations, learners, the replacement, whether its replica caught up, and what is missing then.
    type Case<'a> = (&'a [&'a [u64]], &'a [u64], &'a Replacement, bool, Step);

    /// Members are numbered so that 1, 2 and 3 are the first ones of data directories 1, 2 and 3, 13 a later one of 3, ..
    fn membership(configurations: &[&[u64]], learners: &[u64]) -> Membership {
        let member = |&id: &u64| (id, Member { incarnation: Incarnation(id % 10) });
        let configurations: Vec<BTreeSet<u64>> =
            configurations.iter().map(|ids| ids.iter().copied().collect()).collect();
        let nodes: std::collections::BTreeMap<u64, Member> =
            configurations.iter().flatten().chain(learners).map(member).collect();
        Membership::new(configurations, nodes).expect("every voter is known")
    }

    fn replacement(replica: u64, lost: &[u64]) -> Replacement {
        let (group, node, loss) = (GroupId(7), NodeId(3), 1);
        let (replica, lost) = (ReplicaId(replica), lost.iter().copied().map(ReplicaId).collect());
        Replacement { group, node, incarnation: Incarnation(3), loss, replica, finished: false, lost }
    }

    #[test]
    fn each_state_of_the_membership_has_its_step() {
        let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
        let promote = |ids: &[u64]| Step::Promote(set(ids));
        let first = &replacement(13, &[3]);
        let second = &replacement(23, &[3, 13]);
        let cases: &[Case<'_>] = &[
            (&[&[1, 2, 3]], &[], first, false, Step::AddLearner),
            (&[&[1, 2, 3]], &[13], first, false, Step::Wait),
            (&[&[1, 2, 3]], &[13], first, true, promote(&[1, 2, 13])),
            // Joint: only its end is missing, whoever caught up.
            (&[&[1, 2, 3], &[1, 2, 13]], &[], first, false, promote(&[1, 2, 13])),
            (&[&[1, 2, 13]], &[], first, false, Step::Done),
            // Lost again while it learned, in the middle of the change, and after it.
            (&[&[1, 2, 3]], &[13], second, true, Step::TakeOut(set(&[13]))),
            (&[&[1, 2, 3], &[1, 2, 13]], &[], second, false, Step::AddLearner),
            (&[&[1, 2, 3], &[1, 2, 13]], &[23], second, true, promote(&[1, 2, 23])),
            (&[&[1, 2, 13]], &[], second, false, Step::AddLearner),
            (&[&[1, 2, 13]], &[23], second, true, promote(&[1, 2, 23])),
            (&[&[1, 2, 13], &[1, 2, 23]], &[], second, false, promote(&[1, 2, 23])),
            (&[&[1, 2, 23]], &[], second, false, Step::Done),
            // A leader that has not heard of the second loss.
            (&[&[1, 2, 3]], &[23], first, true, Step::OutOfDate),
            (&[&[1, 2, 23]], &[], first, true, Step::OutOfDate),
            // Another place is being filled meanwhile.
            (&[&[1, 2, 3], &[1, 12, 3]], &[13], first, true, promote(&[1, 12, 13])),
            // No replica whose place it could take.
            (&[&[1, 2]], &[13], first, true, Step::OutOfDate),
            (&[], &[], first, true, Step::OutOfDate),
        ];
        for (configurations, learners, replacement, caught_up, step) in cases {
            let found = next_step(&membership(configurations, learners), replacement, *caught_up);
            assert_eq!(&found, step, "{configurations:?} {learners:?} {replacement:?}");
        }
    }

    /// From any state on the way, step after step leads to the end, and no lost id votes there.
    #[test]
    fn the_steps_lead_to_the_end() {
        let second = replacement(23, &[3, 13]);
        let starts = [
            membership(&[&[1, 2, 3]], &[]),
            membership(&[&[1, 2, 3]], &[13]),
            membership(&[&[1, 2, 3], &[1, 2, 13]], &[]),
            membership(&[&[1, 2, 13]], &[]),
        ];
        for start in starts {
            let mut now = start.clone();
            for _ in 0..8 {
                now = match next_step(&now, &second, true) {
                    Step::TakeOut(ids) => {
                        let learners: Vec<u64> = now.learner_ids().filter(|id| !ids.contains(id)).collect();
                        membership(&slices(&now), &learners)
                    }
                    Step::AddLearner => membership(&slices(&now), &[23]),
                    // openraft goes there by way of a joint membership.
                    Step::Promote(voters) => membership(&[&voters.iter().copied().collect::<Vec<_>>()], &[]),
                    Step::Done => break,
                    step => panic!("{start:?}: {step:?} at {now:?}"),
                };
            }
            assert_eq!(now, membership(&[&[1, 2, 23]], &[]), "{start:?}");
        }
    }

    fn slices(membership: &Membership) -> Vec<&'static [u64]> {
        let leak = |ids: &BTreeSet<u64>| -> &'static [u64] { ids.iter().copied().collect::<Vec<_>>().leak() };
        membership.get_joint_config().iter().map(leak).collect()
    }
}
