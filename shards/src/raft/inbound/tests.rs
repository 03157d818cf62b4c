use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::batch::Batch;
use kahuna_protocol::{Incarnation, ReplicaId};
use openraft::raft::{AppendEntriesRequest, VoteRequest, VoteResponse};

use super::*;
use crate::linux::Linux;
use crate::raft::entries::Entries;
use crate::raft::types::{
    Entry, LogId, Member, Membership, Payload, Proposal, SnapshotMeta, StoredMembership, Types, Vote, log_id,
};

type Append = AppendEntriesRequest<Types<Linux>>;

const LEADER: u64 = 2;
/// The highest term that is taken here, far above those seen.
const MOST_TERM: u64 = 1 << 40;

fn sender(replica: u64) -> Sender {
    Sender { replica: ReplicaId(replica), incarnation: Incarnation(replica * 10), boot: 1 }
}

fn members(voters: &[&[u64]]) -> Membership {
    let voters: Vec<BTreeSet<u64>> = voters.iter().map(|ids| ids.iter().copied().collect()).collect();
    let nodes: BTreeMap<u64, Member> = (1..=4).map(|id| (id, Member { incarnation: sender(id).incarnation })).collect();
    Membership::new(voters, nodes).expect("all are known")
}

/// Purged up to (2, 4); then 5 .. 7 of term 3 and 8 .. 10 of term 4.
fn entries() -> Entries {
    let terms = [3, 3, 3, 4, 4, 4];
    Entries::new(Some(log_id(2, 4)), terms.into_iter().zip(5..).map(|(term, index)| blank(term, index)))
}

fn blank(term: u64, index: u64) -> Entry {
    Entry { log_id: log_id(term, index), payload: Payload::Blank }
}

/// What the replica with those entries knows, as follower of the leader of term 4: that has sent it all but the last entry.
fn known() -> Known {
    let vote = Vote::new_committed(4, LEADER);
    let committed = Some(log_id(3, 6));
    let shared = Some((vote, log_id(4, 9)));
    Known { vote, most_term: MOST_TERM, committed, shared, memberships: [Some(0); 2] }
}

fn append(term: u64, previous: Option<LogId>, terms: &[u64], commit: Option<LogId>) -> Append {
    let first = previous.map_or(0, |previous| previous.index + 1);
    let entries = terms.iter().zip(first..).map(|(&term, index)| blank(term, index)).collect();
    AppendEntriesRequest {
        vote: Vote::new_committed(term, LEADER),
        prev_log_id: previous,
        entries,
        leader_commit: commit,
    }
}

fn claim(append: &Append) -> Result<Claim, Wrong> {
    Claim::of_append::<Linux>(append, &members(&[&[1, 2, 3]]))
}

/// Judges an append; the commit that is handed on.
fn judge(append: &Append) -> Result<Option<LogId>, Wrong> {
    let claim = claim(append)?;
    let entries = entries();
    let mut expected = Expected::new(&entries, known());
    expected.check(&claim)?;
    Ok(expected.take(&claim))
}

fn id(term: u64, index: u64) -> Option<LogId> {
    Some(log_id(term, index))
}

#[test]
fn what_honest_leaders_send_is_taken_with_the_commit_it_covers() {
    let cases = [
        // The leader that it follows: a heartbeat, the next entries, a repetition, a commit that runs ahead, an old one.
        (append(4, id(4, 9), &[], id(4, 9)), id(4, 9)),
        (append(4, id(4, 9), &[4, 4], id(4, 10)), id(4, 10)),
        (append(4, id(3, 6), &[3, 4], id(3, 7)), id(3, 7)),
        (append(4, id(4, 9), &[4], id(4, 90)), id(4, 10)),
        (append(4, id(4, 9), &[4], id(2, 2)), id(2, 2)),
        (append(4, id(4, 90), &[4], id(4, 90)), None),
        // The next one: from the start, with all that is committed, over what is not; with a conflict; with nothing.
        (append(6, None, &[1, 2, 2, 2, 2, 3, 3, 6], id(3, 6)), id(3, 6)),
        (append(6, id(3, 7), &[6], id(3, 7)), id(3, 7)),
        (append(6, id(5, 9), &[], id(5, 9)), None),
        (append(6, None, &[], id(3, 6)), None),
        // An old one, whatever it says, is openraft's to answer.
        (append(3, id(3, 6), &[3, 3, 3], id(3, 9)), None),
    ];
    for (append, commit) in cases {
        assert_eq!(judge(&append), Ok(commit), "{append:?}");
    }
}

#[test]
fn what_no_honest_leader_sends_is_wrong() {
    let vote = Vote::new_committed(4, LEADER);
    let taken_back = |term, index| Wrong::TakenBack { id: log_id(term, index), vote };
    let committed = |term, index| Wrong::Committed { id: log_id(term, index), committed: log_id(3, 6) };
    let later = |term, index| Wrong::Later { id: log_id(term, index), vote };
    let cases = [
        (append(4, id(4, 9), &[3], None), Wrong::Order { before: log_id(4, 9), after: log_id(3, 10) }),
        (append(4, id(4, 9), &[5], None), later(5, 10)),
        (append(4, id(4, 9), &[], id(5, 3)), later(5, 3)),
        (append(4, id(4, 9), &[4], id(3, 90)), Wrong::Commit(log_id(3, 90))),
        (append(4, id(4, 8), &[4, 4], id(3, 9)), Wrong::Commit(log_id(3, 9))),
        (append(4, None, &[], id(9, 9)), later(9, 9)),
        // What is committed.
        (append(6, id(2, 6), &[], None), committed(2, 6)),
        (append(6, id(4, 6), &[], None), committed(4, 6)),
        (append(6, id(3, 3), &[], None), committed(3, 3)),
        (append(6, id(2, 3), &[4, 4, 4], None), committed(4, 6)),
        (append(6, id(2, 7), &[], None), committed(2, 7)),
        (append(6, id(3, 7), &[], id(2, 6)), committed(2, 6)),
        // What the same leader said before.
        (append(4, id(3, 7), &[3], None), taken_back(3, 8)),
        (append(4, id(3, 8), &[], None), taken_back(3, 8)),
        (append(4, id(3, 11), &[], None), taken_back(3, 11)),
        // A commit that stands elsewhere in the log it continues.
        (append(6, id(4, 10), &[], id(4, 7)), Wrong::Commit(log_id(4, 7))),
        (append(MOST_TERM + 1, None, &[], None), Wrong::TermAhead { term: MOST_TERM + 1, most: MOST_TERM }),
        (append(4, id(4, 1 << 62), &[], None), Wrong::Far(log_id(4, 1 << 62))),
    ];
    for (append, wrong) in cases {
        assert_eq!(judge(&append), Err(wrong), "{append:?}");
    }
}

#[test]
fn one_membership_at_most_is_open() {
    let entries = entries();
    let expected = Expected::new(&entries, Known { memberships: [Some(10), Some(8)], ..known() });
    let judge = |append: &Append| claim(append).and_then(|claim| expected.check(&claim));
    assert_eq!(judge(&append(6, id(3, 7), &[5], None)), Err(Wrong::Membership(8)));
    assert_eq!(judge(&append(6, id(4, 8), &[5], None)), Ok(()));
}

#[test]
fn entries_must_be_readable() {
    let with =
        |payload| Append { entries: vec![Entry { log_id: log_id(4, 10), payload }], ..append(4, id(4, 9), &[], None) };
    let batch = with(Payload::Normal(Proposal(Batch::from_bytes(Bytes::from_static(b"no batch")))));
    assert!(matches!(claim(&batch), Err(Wrong::Batch { .. })));
    assert_eq!(claim(&with(Payload::Membership(Membership::default()))), Err(Wrong::NoMembership(10)));
    assert!(claim(&with(Payload::Membership(members(&[&[1, 2], &[2, 4]])))).is_ok());
    let three = with(Payload::Membership(members(&[&[1], &[2], &[3]])));
    assert_eq!(claim(&three), Err(Wrong::NoMembership(10)));
    let elsewhere = BTreeMap::from([(1, Member { incarnation: Incarnation(99) })]);
    let moved = Membership::new(vec![BTreeSet::from([1])], elsewhere).expect("it is known");
    assert_eq!(claim(&with(Payload::Membership(moved))), Err(Wrong::Moved { index: 10, replica: 1 }));
}

#[test]
fn what_is_under_way_counts() {
    let (door, entries) = (Door::default(), entries());
    let known = Known { shared: None, ..known() };
    let admit = |append: &Append| claim(append).and_then(|claim| door.admit(claim, &entries, known));
    let first = admit(&append(6, id(4, 8), &[6, 6], id(6, 10))).expect("a later leader");
    assert_eq!((first.commit, first.higher), (id(6, 10), None));
    // The log still shows what is cut off; the same leader goes on, and nobody takes back what it committed.
    let second = admit(&append(6, id(6, 10), &[6], id(6, 11))).expect("it goes on");
    assert_eq!(second.commit, id(6, 11));
    assert!(matches!(admit(&append(7, id(4, 8), &[7], None)), Err(Wrong::Committed { .. })));
    let old = admit(&append(5, id(4, 10), &[5], id(5, 11))).expect("openraft answers it");
    assert_eq!((old.commit, old.higher), (None, Some(Vote::new_committed(6, LEADER))));
    drop((first, second, old));
    // openraft took none of it.
    let other = admit(&append(7, id(4, 8), &[7], id(7, 9))).expect("nothing is left of the other one");
    assert_eq!(other.commit, id(7, 9));
    other.taken();
    drop(other);
    let known = Known { vote: Vote::new_committed(7, LEADER), ..known };
    let mut entries = self::entries();
    entries.push(blank(7, 9));
    let again = claim(&append(7, id(4, 8), &[4], None)).and_then(|claim| door.admit(claim, &entries, known));
    assert!(matches!(again, Err(Wrong::TakenBack { .. })), "{again:?}");
}

#[test]
fn snapshots_hold_what_is_committed() {
    let judge = |term: u64, last: LogId, at: Option<LogId>| {
        let last_membership = StoredMembership::new(at, members(&[&[1, 2, 3]]));
        let meta = SnapshotMeta { last_log_id: Some(last), last_membership };
        let claim = Claim::of_snapshot(Vote::new_committed(term, LEADER), &meta, &members(&[&[1, 2, 3]]))?;
        let entries = entries();
        let mut expected = Expected::new(&entries, known());
        expected.check(&claim)?;
        Ok::<_, Wrong>(expected.take(&claim))
    };
    assert_eq!(judge(6, log_id(4, 50), id(4, 20)), Ok(id(4, 50)));
    assert_eq!(judge(6, log_id(5, 9), id(0, 0)), Ok(id(5, 9)));
    assert_eq!(judge(6, log_id(3, 5), id(0, 0)), Ok(None), "it says less than the log");
    let committed = |term, index| Err(Wrong::Committed { id: log_id(term, index), committed: log_id(3, 6) });
    assert_eq!(judge(6, log_id(4, 6), id(0, 0)), committed(4, 6));
    assert_eq!(judge(6, log_id(2, 50), id(0, 0)), committed(2, 50));
    let vote = Vote::new_committed(6, LEADER);
    assert_eq!(judge(6, log_id(7, 50), id(0, 0)), Err(Wrong::Later { id: log_id(7, 50), vote }));
    assert_eq!(judge(6, log_id(4, 50), None), Err(Wrong::NoMembership(0)));
    let order = Wrong::Order { before: log_id(4, 51), after: log_id(4, 50) };
    assert_eq!(judge(6, log_id(4, 50), id(4, 51)), Err(order));
}

#[test]
fn everybody_speaks_for_itself() {
    let known = members(&[&[1, 2, 3]]);
    let own = ReplicaId(1);
    assert_eq!(sender(2).check(own, &known), Ok(()));
    assert_eq!(sender(9).check(own, &known), Ok(()), "it may be one of later");
    assert_eq!(sender(1).check(own, &known), Err(Wrong::OwnNumber));
    let elsewhere = Sender { incarnation: Incarnation(30), ..sender(2) };
    let foreign = Wrong::Foreign { member: Incarnation(20), link: Incarnation(30) };
    assert_eq!(elsewhere.check(own, &known), Err(foreign));
    assert_eq!(sender(2).leads(Vote::new_committed(5, 3)), Err(Wrong::NotItself(Vote::new_committed(5, 3))));
    assert_eq!(sender(2).leads(Vote::new(5, 2)), Err(Wrong::NotElected(Vote::new(5, 2))));

    let ask = |vote, last| check_vote_request(&VoteRequest::<Types<Linux>>::new(vote, last), sender(2));
    assert_eq!(ask(Vote::new(5, 2), id(4, 90)), Ok(()));
    assert_eq!(ask(Vote::new(5, 3), None), Err(Wrong::NotItself(Vote::new(5, 3))));
    let elected = Vote::new_committed(5, 2);
    assert_eq!(ask(elected, None), Err(Wrong::Elected(elected)));
    assert!(matches!(ask(Vote::new(5, 2), id(5, 90)), Err(Wrong::Later { .. })));
    assert!(matches!(ask(Vote::new(1 << 62, 2), None), Err(Wrong::TermAhead { .. })));
    assert_eq!(ask(Vote::new(1 << 40, 2), None), Ok(()), "whoever was away may have missed any number of terms");
}

#[test]
fn answers_make_nobody_a_leader() {
    let asked = Vote::new(5, 1);
    assert_eq!(heeded::<Linux>(asked, Vote::new_committed(7, 3), 2), Ok(Vote::new_committed(7, 3)));
    assert_eq!(heeded::<Linux>(asked, Vote::new_committed(7, 1), 2), Ok(Vote::new(7, 2)), "only the term counts");
    assert!(heeded::<Linux>(asked, Vote::new(1 << 62, 3), 2).is_err());
    let vote_of = |vote, is_trial| {
        let answer = VoteResponse::<Types<Linux>>::new(vote, None, true);
        voted::<Linux>(asked, is_trial, answer, 2).map(|answer| (answer.vote, answer.vote_granted))
    };
    assert_eq!(vote_of(asked, false), Ok((asked, true)));
    assert_eq!(vote_of(Vote::new_committed(4, 1), true), Ok((Vote::new_committed(4, 1), true)));
    assert_eq!(vote_of(asked, true), Ok((Vote::new(5, 2), true)));
    assert_eq!(vote_of(Vote::new(9, 1), false), Ok((Vote::new(9, 2), true)));

    let acknowledged = Acknowledged::default();
    let vote = Vote::new_committed(5, 1);
    let note = |last, committed| acknowledged.note(2, vote, last, committed, Duration::ZERO);
    note(id(4, 8), None);
    note(id(4, 7), None);
    assert!(acknowledged.check_conflict(2, vote, None).is_err());
    assert!(acknowledged.check_conflict(2, vote, id(4, 8)).is_err());
    assert_eq!(acknowledged.check_conflict(2, vote, id(4, 9)), Ok(()));
    assert_eq!(acknowledged.check_conflict(3, vote, id(4, 8)), Ok(()));
    assert_eq!(acknowledged.check_conflict(2, Vote::new_committed(6, 1), id(4, 8)), Ok(()));

    let knows = |vote, end| acknowledged.progress(2, vote).is_some_and(|progress| progress.knows(end));
    assert!(!knows(vote, id(4, 8)), "of no commit");
    note(id(4, 7), id(4, 8));
    assert!(!knows(vote, id(4, 8)), "it believes what it has, and was asked about less");
    note(id(4, 8), id(4, 8));
    assert!(knows(vote, id(4, 8)) && !knows(vote, id(4, 9)) && !knows(Vote::new_committed(6, 1), id(4, 8)));
    acknowledged.forget_commits(2);
    assert!(!knows(vote, id(4, 8)));
    assert!(acknowledged.check_conflict(2, vote, id(4, 8)).is_err());
}
