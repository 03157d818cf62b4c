//! Claim: what real objects answered to many processes at once is accepted, and rejected once one answer is bent so
//! that no order can explain it. Method: seeded histories; each bend is impossible by construction, see there.

mod check_support;

use check_support::crowd::{Crowd, history_of};
use check_support::no_minima;
use kahuna_sim::check::{Action, Ending, Operation, Reply, Verdict, check};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

const SEEDS: u64 = 60;

fn crowd(rng: &mut SmallRng, revisions: bool, values: Option<u64>) -> Crowd {
    Crowd {
        processes: rng.random_range(2..=if revisions { 16 } else { 5 }),
        names: rng.random_range(1..5),
        operations: 300,
        lost_per_mille: rng.random_range(0..200),
        failed_per_mille: rng.random_range(0..100),
        revisions,
        values,
        all_kinds: true,
    }
}

#[test]
fn real_histories_are_accepted() {
    for (revisions, values) in [(true, None), (true, Some(3)), (false, None), (false, Some(3))] {
        for seed in 0..SEEDS {
            let mut rng = SmallRng::seed_from_u64(seed);
            let crowd = crowd(&mut rng, revisions, values);
            let report = check(&history_of(&crowd.history(&mut rng)), &no_minima());
            assert_eq!(report.outcome, Verdict::Valid, "seed {seed}, {crowd:?}: {report:#?}");
        }
    }
}

/// Bends one answer; false where the history has none that it could bend.
type Bend = fn(&mut [Operation], &mut SmallRng) -> bool;

#[test]
fn bent_histories_are_rejected() {
    let bends: [(&str, Bend); 9] = [
        ("stale read", stale_read),
        ("read from the future", early_read),
        ("value out of nowhere", phantom_value),
        ("acknowledged set that never was", lost_set),
        ("revision given twice", double_revision),
        ("sequence value given twice", double_draw),
        ("sequence values out of order", swapped_draws),
        ("token of an earlier owner", old_token),
        ("owner that never asked", stranger),
    ];
    for (name, bend) in bends {
        let mut bent = 0;
        for seed in 0..SEEDS {
            let mut rng = SmallRng::seed_from_u64(seed);
            let crowd = crowd(&mut rng, seed % 2 == 0, None);
            let mut operations = crowd.history(&mut rng);
            if !bend(&mut operations, &mut rng) {
                continue;
            }
            bent += 1;
            let report = check(&history_of(&operations), &no_minima());
            assert_eq!(report.outcome, Verdict::Invalid, "{name}, seed {seed}, {crowd:?}");
        }
        assert!(bent >= 10, "{name}: bent {bent} histories only");
    }
}

fn answer(operation: &Operation) -> Option<(u64, &Reply)> {
    match &operation.ending {
        Ending::Ok { at_ns, reply } => Some((*at_ns, reply)),
        _ => None,
    }
}

/// An unconditional or conditional set that was acknowledged: its value, revision, and when it had returned.
fn acknowledged_set(operation: &Operation) -> Option<(&String, Option<u64>, u64)> {
    match (&operation.action, answer(operation)?) {
        (Action::Set { value, .. }, (at_ns, Reply::Set { revision })) => Some((value, *revision, at_ns)),
        _ => None,
    }
}

fn reads(operations: &[Operation]) -> Vec<usize> {
    let is_read = |operation: &Operation| operation.action == Action::Get && answer(operation).is_some();
    (0..operations.len()).filter(|&at| is_read(&operations[at])).collect()
}

fn show(operation: &mut Operation, value: &str, revision: Option<u64>) {
    if let Ending::Ok { reply, .. } = &mut operation.ending {
        *reply = Reply::Value { value: value.into(), revision };
    }
}

/// A set was acknowledged, then another one was asked for and acknowledged, then a read saw the first.
fn stale_read(operations: &mut [Operation], rng: &mut SmallRng) -> bool {
    let mut found = Vec::new();
    for read in reads(operations) {
        let (key, asked_ns) = (&operations[read].key, operations[read].invoked_ns);
        let sets = || operations.iter().filter(|operation| operation.key == *key);
        let newest_ns = sets()
            .filter(|set| acknowledged_set(set).is_some_and(|(_, _, at_ns)| at_ns < asked_ns))
            .map(|set| set.invoked_ns)
            .max();
        let old = sets().filter_map(acknowledged_set).find(|&(_, _, at_ns)| Some(at_ns) < newest_ns);
        found.extend(old.map(|(value, revision, _)| (read, value.clone(), revision)));
    }
    let Some((read, value, revision)) = found.choose(rng).cloned() else { return false };
    show(&mut operations[read], &value, revision);
    true
}

/// A read saw what was asked for only after it had returned. Every set writes a value of its own.
fn early_read(operations: &mut [Operation], rng: &mut SmallRng) -> bool {
    let mut found = Vec::new();
    for read in reads(operations) {
        let (key, returned_ns) = (&operations[read].key, answer(&operations[read]).map(|(at_ns, _)| at_ns));
        let later = operations.iter().find(|set| set.key == *key && Some(set.invoked_ns) > returned_ns);
        found.extend(later.and_then(acknowledged_set).map(|(value, revision, _)| (read, value.clone(), revision)));
    }
    let Some((read, value, revision)) = found.choose(rng).cloned() else { return false };
    show(&mut operations[read], &value, revision);
    true
}

/// A read saw what nobody wrote.
fn phantom_value(operations: &mut [Operation], rng: &mut SmallRng) -> bool {
    let Some(&read) = reads(operations).choose(rng) else { return false };
    show(&mut operations[read], "phantom", None);
    true
}

/// A read saw a value whose only set is said to have failed.
fn lost_set(operations: &mut [Operation], rng: &mut SmallRng) -> bool {
    let seen: Vec<String> = operations
        .iter()
        .filter_map(|operation| match answer(operation)? {
            (_, Reply::Value { value, .. }) => Some(value.clone()),
            _ => None,
        })
        .collect();
    let sets: Vec<usize> = (0..operations.len())
        .filter(|&at| acknowledged_set(&operations[at]).is_some_and(|(value, ..)| seen.contains(value)))
        .collect();
    let Some(&set) = sets.choose(rng) else { return false };
    operations[set].ending = Ending::Fail;
    true
}

/// Two acknowledged writes of one key have one revision.
fn double_revision(operations: &mut [Operation], rng: &mut SmallRng) -> bool {
    let mut found = Vec::new();
    for (at, set) in operations.iter().enumerate() {
        let others = operations[..at].iter().filter(|other| other.key == set.key).filter_map(acknowledged_set);
        if acknowledged_set(set).is_some() {
            found.extend(others.filter_map(|(_, revision, _)| Some((at, revision?))));
        }
    }
    let Some(&(set, revision)) = found.choose(rng) else { return false };
    if let Ending::Ok { reply, .. } = &mut operations[set].ending {
        *reply = Reply::Set { revision: Some(revision) };
    }
    true
}

/// Pairs of answered operations on one name, the first of which had returned before the second was asked for.
fn one_after_the_other(operations: &[Operation], kind: &str) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (second, later) in operations.iter().enumerate().filter(|(_, one)| one.key.starts_with(kind)) {
        if answer(later).is_some() {
            let before = |one: &Operation| answer(one).is_some_and(|(at_ns, _)| at_ns < later.invoked_ns);
            let firsts = (0..second).filter(|&at| operations[at].key == later.key && before(&operations[at]));
            pairs.extend(firsts.map(|first| (first, second)));
        }
    }
    pairs
}

fn single_draws(operations: &[Operation]) -> Vec<(usize, usize)> {
    let single = |at: usize| operations[at].action == Action::Draw { count: 1, increment: 1 };
    one_after_the_other(operations, "seq").into_iter().filter(|&(one, two)| single(one) && single(two)).collect()
}

/// The same value twice.
fn double_draw(operations: &mut [Operation], rng: &mut SmallRng) -> bool {
    let Some(&(first, second)) = single_draws(operations).choose(rng) else { return false };
    let reply = answer(&operations[first]).map(|(_, reply)| reply.clone());
    if let (Ending::Ok { reply, .. }, Some(other)) = (&mut operations[second].ending, reply) {
        *reply = other;
    }
    true
}

/// The later draw got the lower value.
fn swapped_draws(operations: &mut [Operation], rng: &mut SmallRng) -> bool {
    let Some(&(first, second)) = single_draws(operations).choose(rng) else { return false };
    let replies = [second, first].map(|at| answer(&operations[at]).map(|(_, reply)| reply.clone()));
    for (at, other) in [first, second].into_iter().zip(replies) {
        if let (Ending::Ok { reply, .. }, Some(other)) = (&mut operations[at].ending, other) {
            *reply = other;
        }
    }
    true
}

/// A grant has the token of another owner's earlier grant.
fn old_token(operations: &mut [Operation], rng: &mut SmallRng) -> bool {
    let granted = |at: usize| match (&operations[at].action, answer(&operations[at])) {
        (Action::Acquire { owner, .. }, Some((_, Reply::Acquired { token }))) => Some((owner, *token)),
        _ => None,
    };
    let found: Vec<(usize, u64)> = one_after_the_other(operations, "lock")
        .into_iter()
        .filter_map(|(first, second)| {
            let ((one, token), (other, _)) = (granted(first)?, granted(second)?);
            (one != other).then_some((second, token))
        })
        .collect();
    let Some(&(second, old)) = found.choose(rng) else { return false };
    if let Ending::Ok { reply, .. } = &mut operations[second].ending {
        *reply = Reply::Acquired { token: old };
    }
    true
}

/// Somebody is told that the holder is one who never asked.
fn stranger(operations: &mut [Operation], rng: &mut SmallRng) -> bool {
    let told: Vec<usize> = (0..operations.len())
        .filter(|&at| matches!(answer(&operations[at]), Some((_, Reply::Held { .. } | Reply::NotOwner { .. }))))
        .collect();
    let Some(&at) = told.choose(rng) else { return false };
    if let Ending::Ok { reply: Reply::Held { owner, .. } | Reply::NotOwner { owner, .. }, .. } =
        &mut operations[at].ending
    {
        *owner = "stranger".into();
    }
    true
}
