//! Every judge finds an error made by hand, and finds nothing in the sound variant of the same input.

use std::{collections::BTreeSet, time::Duration};

use kahuna_client::{ClientError, Now, Reply as Answer};
use kahuna_protocol::{
    ErrorCode, ErrorReply, GroupId, Hlc, Outcome as Reply, ReplicaId,
    key::{KeyExtended, Set},
    sequence::Allocated,
};
use kahuna_shards::env::ExitCode;

use super::{
    Plan,
    drive::read_history,
    inside::Inside,
    raft::tests::{judges as judges_of_logs, replica},
    report::finding,
    watch::judge_ends,
};
use crate::{
    Exit,
    check::{
        Appended, ClockBounds, Datum, Event, Fence, KeyLife, Kind, Left, Limits, Op, Outcome, Revisions, Turns, check,
    },
    claims::{
        exactly_once::judge_answers,
        process::{complete, judge_time, judge_validity},
    },
    finding::{Finding, Judge},
    nemesis::{SimFault, Struck},
    recorder::reliance::Reliance,
    shrink,
};

const GROUP: GroupId = GroupId(1);

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Lines of one process, an operation after the other; `answer` fills each answer in.
fn operations(ops: &[(Op, &str)], answer: impl Fn(usize, &mut Event)) -> Vec<Event> {
    let mut events = Vec::new();
    for (number, (op, key)) in ops.iter().enumerate() {
        let from = 10 * number as u64;
        let mut invoked = Event::new(1, Kind::Invoke, *op, *key, from);
        match op {
            Op::KeySet => invoked.value = Some(Datum::Text("a".into())),
            Op::LockAcquire => (invoked.owner, invoked.ttl_ms) = (Some(format!("owner-{number}")), Some(1_000)),
            _ => {}
        }
        let mut completed = invoked.completion(Kind::Ok, from + 5);
        answer(number, &mut completed);
        events.extend([invoked, completed]);
    }
    events
}

fn judged_history(events: &[Event]) -> Vec<Finding> {
    match read_history(events) {
        Ok(history) => check(&history, &Limits::default()).problems.iter().map(finding).collect(),
        Err(finding) => vec![finding],
    }
}

fn found(judge: Judge, texts: Vec<String>) -> Vec<Finding> {
    texts.into_iter().map(|text| Finding::new(judge, text)).collect()
}

fn answer(outcome: impl Into<Reply>) -> Result<Answer, ClientError> {
    let first_sent = Now { elapsed: Duration::ZERO, unix_ms: 0 };
    Ok(Answer { outcome: outcome.into(), stamp: Hlc::ZERO, first_sent, safe_until: None })
}

/// Findings of the judge on an input made by hand, which has the one error that this judge must find if `broken`.
fn judged(judge: Judge, broken: bool) -> Vec<Finding> {
    match judge {
        Judge::Key => judged_history(&operations(&[(Op::KeySet, "k"), (Op::KeyGet, "k")], |number, event| {
            event.revision = Some(1);
            event.outcome = Some([Outcome::Set, Outcome::Value][number]);
            let read = if broken { "b" } else { "a" };
            event.value = (number == 1).then(|| Datum::Text(read.into()));
        })),
        Judge::Lock => judged_history(&operations(&[(Op::LockAcquire, "l"); 2], |number, event| {
            // The lease of the first one lasts.
            let granted = number == 0 || broken;
            event.outcome = Some(if granted { Outcome::Acquired } else { Outcome::Held });
            event.owner = (!granted).then(|| "owner-0".into());
            event.token = Some(if granted { number as u64 + 1 } else { 1 });
        })),
        Judge::Sequence => judged_history(&operations(&[(Op::SequenceNext, "s"); 2], |number, event| {
            event.outcome = Some(Outcome::Next);
            event.value = Some(Datum::Integer(if broken { 1 } else { number as i64 + 1 }));
        })),
        Judge::History => {
            let mut events = operations(&[(Op::KeyGet, "k")], |_, event| {
                (event.outcome, event.revision) = (Some(Outcome::NotFound), Some(0));
            });
            if broken {
                // An answer without a request.
                events.remove(0);
            }
            judged_history(&events)
        }
        Judge::Expiry => {
            let mut life = KeyLife::default();
            life.begins(at(0), Left { value: Some("a".into()), ttl: Some(at(50)) });
            life.ended(at(10));
            life.read(at(80), at(90), Some("a".into()));
            life.read(at(100), at(110), (broken).then(|| "a".into()));
            found(judge, life.breaches(ClockBounds { error: at(5), skew: at(20), late: at(0) }))
        }
        Judge::Cut => {
            let mut turns = Turns::<2>::default();
            for write in 0..4 {
                turns.begins(at(10 * write));
                turns.ended(at(10 * write + 5));
            }
            // The first page as of the second write, the second page as of the fourth.
            turns.scanned(at(16), at(18), at(50), vec![Some(1), Some(if broken { 4 } else { 2 })]);
            found(judge, turns.breaches())
        }
        Judge::Revision => {
            let mut revisions = Revisions::default();
            revisions.see("k", 1, Some("a"), Some(10));
            revisions.see("k", 2, Some("b"), Some(20));
            revisions.read_at("k", 15, 1, Some(if broken { "b" } else { "a" }), None);
            found(judge, revisions.breaches())
        }
        Judge::Fence => {
            let mut fence = Fence::default();
            fence.granted(2, at(10));
            fence.applied(1, at(if broken { 11 } else { 9 }), 1);
            found(judge, fence.breaches())
        }
        Judge::Append => {
            let mut key = Appended::default();
            for item in 0..2 {
                key.begins(at(10 * item));
                key.applied(item as usize, at(10 * item + 5), item + 1);
            }
            // A repetition of the second append was applied again.
            key.read(at(20), at(30), Some(if broken { ("0;1;1;", 3) } else { ("0;1;", 2) }));
            found(judge, key.breaches())
        }
        Judge::Reliance => {
            let mut reliance = Reliance::default();
            let first = reliance.begins("l", 1, at(50), at(0));
            first.into_iter().chain(reliance.begins("l", 2, at(90), at(if broken { 49 } else { 51 }))).collect()
        }
        Judge::ExactlyOnce => {
            let drawn = |value| Reply::from(Allocated { incarnation: 1, start: value, end: value, count: 1 });
            judge_answers(&drawn(7), &drawn(if broken { 8 } else { 7 })).into_iter().collect()
        }
        Judge::Protocol => {
            let invoked = Event::new(1, Kind::Invoke, Op::KeySet, "k", 0);
            let extended = KeyExtended { revision: 1, deadline_ms: None };
            let came = if broken { answer(extended) } else { answer(Set { revision: 1 }) };
            let (completed, finding) = complete(&invoked, &came, 5);
            assert_eq!(completed.kind, if broken { Kind::Info } else { Kind::Ok });
            finding.into_iter().collect()
        }
        Judge::Validity => {
            let refused = |code| Err(ClientError::Refused(ErrorReply::new(code, "by hand")));
            let codes: &[ErrorCode] = if broken {
                &[ErrorCode::Expired, ErrorCode::Forgotten, ErrorCode::BadRequest]
            } else {
                &[ErrorCode::NoLeader, ErrorCode::DiskFull]
            };
            let found: Vec<_> = codes.iter().map(|code| judge_validity("a set", &refused(*code))).collect();
            assert!(!broken || found.iter().all(Option::is_some), "each of these codes");
            found.into_iter().chain([judge_validity("a set", &answer(Set { revision: 1 }))]).flatten().collect()
        }
        Judge::Leaders => {
            let mut inside = Inside::default();
            inside.leads(GROUP, 3, ReplicaId(1));
            inside.leads(GROUP, if broken { 3 } else { 4 }, ReplicaId(2));
            inside.findings()
        }
        Judge::Lease => {
            let mut inside = Inside::default();
            inside.trusts_its_lease(GROUP, ReplicaId(1), 3, if broken { 4 } else { 3 });
            inside.findings()
        }
        Judge::States => {
            let mut inside = Inside::default();
            inside.applied(GROUP, 7, ReplicaId(1), 70);
            inside.applied(GROUP, 7, ReplicaId(2), if broken { 71 } else { 70 });
            inside.findings()
        }
        Judge::Lost => {
            let mut inside = Inside::default();
            if broken {
                inside.runs_again(GROUP, ReplicaId(1));
            }
            inside.findings()
        }
        Judge::LogMatching => {
            let (view, mut entries) = replica(2, 1, false, 0, &[1, 1]);
            entries[1].digest += u64::from(broken);
            logs(&[replica(1, 1, true, 0, &[1, 1]), (view, entries)])
        }
        Judge::LeaderAppendOnly => {
            let second = replica(1, 1, true, 0, if broken { &[1, 1] } else { &[1, 1, 1, 1] });
            logs(&[vec![replica(1, 1, true, 0, &[1, 1, 1])], vec![second; 100]].concat())
        }
        Judge::LeaderCompleteness => {
            let log: &[u64] = if broken { &[1, 1, 2] } else { &[1, 1, 1, 2] };
            logs(&[replica(1, 1, true, 2, &[1, 1, 1]), replica(2, 2, true, 0, log)])
        }
        Judge::StateMachineSafety => {
            let applied = if broken { 1 } else { 0 };
            logs(&[replica(1, 1, false, 1, &[1, 1]), replica(2, 2, false, applied, &[1, 2])])
        }
        Judge::Ends => {
            let exit = Exit { node: 2, code: ExitCode::Bug, message: "a bug".into(), at_nanos: 7 };
            // Another end of that node is excused, not this one.
            judge_ends(&[exit], |node, at| (node, at) == (2, if broken { 6 } else { 7 }))
        }
        Judge::Liveness => {
            let silent = Err(ClientError::Unavailable { text: "no leader".into() });
            let bound = at(1_000);
            let answers = if broken {
                [
                    judge_time("a get", &silent, at(10), bound),
                    judge_time("a get", &answer(Set { revision: 1 }), at(1_001), bound),
                ]
            } else {
                [judge_time("a get", &answer(Set { revision: 1 }), bound, bound), None]
            };
            assert!(!broken || answers.iter().all(Option::is_some), "no answer, and a late one");
            answers.into_iter().flatten().collect()
        }
        Judge::Forbidden => {
            let mut plan = Plan::new(1, at(0));
            plan.forbidden = BTreeSet::from([SimFault::Kill, SimFault::Reset]);
            let struck = |fault| Struck { number: 1, fault, at_ms: 0, for_ms: 1 };
            let other = if broken { SimFault::Reset } else { SimFault::Pause };
            plan.judge_forbidden(&[struck(SimFault::Kill), struck(other)]).into_iter().collect()
        }
        Judge::Panic => {
            let report = (!broken).then(crate::run::RunReport::default);
            shrink::judges(&report).into_iter().map(|judge| Finding::new(judge, "no report")).collect()
        }
    }
}

fn logs(sights: &[(crate::cluster::GroupView, Vec<crate::cluster::LogEntry>)]) -> Vec<Finding> {
    judges_of_logs(sights).into_iter().map(|judge| Finding::new(judge, "seen")).collect()
}

/// Claim: every judge finds its error, and none finds one in the sound variant. A judge without a broken input does not
/// compile, see `judged`.
#[test]
fn every_judge_finds_what_is_broken_by_hand() {
    for judge in Judge::ALL {
        let who = |broken| judged(judge, broken).into_iter().map(|it| it.judge).collect::<BTreeSet<_>>();
        assert_eq!(who(true), BTreeSet::from([judge]));
        assert_eq!(who(false), BTreeSet::new(), "{judge:?} has nothing to find: {:?}", judged(judge, false));
    }
}
