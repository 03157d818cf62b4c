//! Claim: the search neither misses an order nor invents one. Method: many tiny histories, of which about half are
//! damaged at random, are also judged by trying every order of their operations on a plain object.

mod check_support;

use check_support::no_minima;
use check_support::world::{World, holds};
use kahuna_sim::check::{Action, Conditions, Ending, History, Operation, Reply, Verdict, check};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const CASES: u64 = 6_000;
/// Time in steps of half the shortest lease.
const STEP_NS: u64 = 500_000;
const NANOS_PER_MILLI: u64 = 1_000_000;
const HIGHEST: u64 = 5;

#[test]
fn keys_are_judged_as_by_trying_every_order() {
    compare(key_action, damage_key, |operations, dense| {
        let first = if dense { HIGHEST } else { 0 };
        (0..=first).any(|floor| KeyOrders { operations, dense }.explain(0, None, floor))
    });
}

#[test]
fn locks_are_judged_as_by_trying_every_order() {
    compare(lock_action, damage_lock, |operations, _| LockOrders { operations }.explain(0, 0, None, 0, (0, 0)));
}

fn compare(
    action: impl Fn(&mut SmallRng) -> Action,
    damage: impl Fn(&mut Reply, &mut SmallRng),
    explained: impl Fn(&[Operation], bool) -> bool,
) {
    let mut seen = [0; 2];
    for seed in 0..CASES {
        let mut rng = SmallRng::seed_from_u64(seed);
        let dense = rng.random();
        let operations = tiny_history(&mut rng, dense, &action, &damage);
        let mut limits = no_minima();
        limits.dense_revisions = dense;
        let expected = explained(&operations, dense);
        seen[usize::from(expected)] += 1;
        let mut history = History::default();
        history.operations = operations;
        let report = check(&history, &limits);
        let verdict = if expected { Verdict::Valid } else { Verdict::Invalid };
        assert_eq!(report.outcome, verdict, "seed {seed}, dense {dense}: {report:#?}\n{:#?}", history.operations);
    }
    assert!(seen.iter().all(|&count| count > CASES / 10), "lopsided: {seen:?}");
}

/// Up to five operations at random times, answered by a real object, some of them unknown, failed or damaged.
fn tiny_history(
    rng: &mut SmallRng,
    dense: bool,
    action: &impl Fn(&mut SmallRng) -> Action,
    damage: &impl Fn(&mut Reply, &mut SmallRng),
) -> Vec<Operation> {
    let mut plan: Vec<(u64, u64, u64)> = (0..rng.random_range(2..=5))
        .map(|_| {
            let invoked = rng.random_range(0..8);
            let effect = invoked + rng.random_range(0..4);
            (effect, invoked, effect + rng.random_range(0..4))
        })
        .collect();
    plan.sort_unstable();
    let mut world = World::new(if dense { 0 } else { 2 });
    let mut operations = Vec::new();
    for (process, (effect, invoked, returned)) in plan.into_iter().enumerate() {
        let action = action(rng);
        let fate = rng.random_range(0..10);
        let reply = (fate > 1).then(|| world.apply(effect * STEP_NS, "n", &action, rng));
        let ending = match (fate, reply) {
            (0, _) => Ending::Fail,
            (1 | 2, _) | (_, None) => Ending::Unknown,
            (_, Some(mut reply)) => {
                if rng.random_ratio(1, 5) {
                    damage(&mut reply, rng);
                }
                forget(&action, &mut reply, rng);
                Ending::Ok { at_ns: returned * STEP_NS, reply }
            }
        };
        operations.push(Operation {
            process: process as u64,
            key: "n".into(),
            action,
            invoked_ns: invoked * STEP_NS,
            ending,
            line: process * 2 + 1,
            end_line: process * 2 + 2,
        });
    }
    operations
}

fn value(rng: &mut SmallRng) -> String {
    ["x", "y", "z"][rng.random_range(0..3)].into()
}

fn owner(rng: &mut SmallRng) -> String {
    ["a", "b"][rng.random_range(0..2)].into()
}

fn key_action(rng: &mut SmallRng) -> Action {
    let mut conditions = Conditions::default();
    match rng.random_range(0..8) {
        0 => conditions.absent = true,
        1 => conditions.present = true,
        2 => conditions.value = Some(value(rng)),
        3 => conditions.revision = Some(rng.random_range(0..3)),
        _ => {}
    }
    match rng.random_range(0..8) {
        0..4 => Action::Set { value: value(rng), conditions },
        4 | 5 => Action::Delete { conditions },
        _ => Action::Get,
    }
}

fn lock_action(rng: &mut SmallRng) -> Action {
    let ttl_ms = [None, Some(1), Some(2), Some(100)][rng.random_range(0..4)];
    match rng.random_range(0..8) {
        0..4 => Action::Acquire { owner: owner(rng), ttl_ms },
        4 => Action::Extend { owner: owner(rng), ttl_ms },
        5 => Action::LockInfo,
        _ => Action::Release { owner: owner(rng) },
    }
}

fn damage_key(reply: &mut Reply, rng: &mut SmallRng) {
    let number = rng.random_range(0..4);
    match reply {
        Reply::Value { value: seen, .. } if rng.random() => *seen = value(rng),
        Reply::Value { revision, .. }
        | Reply::Set { revision }
        | Reply::NotSet { revision }
        | Reply::Deleted { revision }
        | Reply::NotFound { revision } => *revision = Some(number),
        _ => {}
    }
}

fn damage_lock(reply: &mut Reply, rng: &mut SmallRng) {
    let number = rng.random_range(0..4);
    match reply {
        Reply::Held { owner: seen, .. } | Reply::NotOwner { owner: seen, .. } if rng.random() => *seen = owner(rng),
        Reply::Acquired { token }
        | Reply::Extended { token }
        | Reply::Held { token, .. }
        | Reply::NotOwner { token, .. } => *token = number,
        Reply::NotHeld { token } => *token = Some(number),
        Reply::Released => *reply = Reply::NotHeld { token: None },
        _ => {}
    }
}

/// Some answers carry no number; a refused revision always does, without which the checker gives it the benefit of
/// the doubt.
fn forget(action: &Action, reply: &mut Reply, rng: &mut SmallRng) {
    if let Action::Set { conditions, .. } | Action::Delete { conditions } = action
        && conditions.revision.is_some()
    {
        return;
    }
    if rng.random_ratio(1, 3)
        && let Reply::Value { revision: number, .. }
        | Reply::Set { revision: number }
        | Reply::NotSet { revision: number }
        | Reply::Deleted { revision: number }
        | Reply::NotFound { revision: number }
        | Reply::NotHeld { token: number } = reply
    {
        *number = None;
    }
}

fn reply(operation: &Operation) -> Option<&Reply> {
    match &operation.ending {
        Ending::Ok { reply, .. } => Some(reply),
        _ => None,
    }
}

fn returned_ns(operation: &Operation) -> u64 {
    match operation.ending {
        Ending::Ok { at_ns, .. } => at_ns,
        _ => u64::MAX,
    }
}

/// The operations that may take effect next, after those in `done`.
fn candidates(operations: &[Operation], done: u32) -> impl Iterator<Item = usize> {
    let left = move |at: &usize| done & (1 << at) == 0;
    (0..operations.len()).filter(left).filter(move |&at| {
        operations[at].ending != Ending::Fail
            && (0..operations.len())
                .filter(left)
                .all(|other| returned_ns(&operations[other]) >= operations[at].invoked_ns)
    })
}

fn all_answered(operations: &[Operation], done: u32) -> bool {
    (0..operations.len()).all(|at| done & (1 << at) != 0 || reply(&operations[at]).is_none())
}

struct KeyOrders<'a> {
    operations: &'a [Operation],
    dense: bool,
}

impl<'a> KeyOrders<'a> {
    fn explain(&self, done: u32, value: Option<&'a str>, revision: u64) -> bool {
        if all_answered(self.operations, done) {
            return true;
        }
        let highest_floor = if value.is_none() && !self.dense { HIGHEST.max(revision) } else { revision };
        candidates(self.operations, done).any(|at| {
            (revision..=highest_floor).any(|revision| match after_key(&self.operations[at], value, revision) {
                Some((value, revision)) => self.explain(done | 1 << at, value, revision),
                None => false,
            })
        })
    }
}

/// The state after one operation; none if its answer is another one.
fn after_key<'a>(operation: &'a Operation, value: Option<&'a str>, now: u64) -> Option<(Option<&'a str>, u64)> {
    let same = (value, now);
    let (right, next) = match (&operation.action, value) {
        (Action::Set { value: new, conditions }, _) if holds(conditions, value, now) => {
            (Reply::Set { revision: Some(now + 1) }, (Some(new.as_str()), now + 1))
        }
        (Action::Delete { conditions }, Some(_)) if holds(conditions, value, now) => {
            (Reply::Deleted { revision: Some(now + 1) }, (None, now + 1))
        }
        (Action::Delete { conditions }, None)
            if matches!(reply(operation), Some(Reply::NotSet { .. })) && !holds(conditions, value, now) =>
        {
            (Reply::NotSet { revision: Some(now) }, same)
        }
        (Action::Get | Action::Delete { .. }, None) => (Reply::NotFound { revision: Some(now) }, same),
        (Action::Get, Some(value)) => (Reply::Value { value: value.into(), revision: Some(now) }, same),
        _ => (Reply::NotSet { revision: Some(now) }, same),
    };
    fits(reply(operation), right).then_some(next)
}

/// Whether an answer is the right one, as far as it goes.
fn fits(answer: Option<&Reply>, mut right: Reply) -> bool {
    let Some(answer) = answer else { return true };
    match (answer, &mut right) {
        (Reply::Set { revision: None }, Reply::Set { revision: number })
        | (Reply::NotSet { revision: None }, Reply::NotSet { revision: number })
        | (Reply::Deleted { revision: None }, Reply::Deleted { revision: number })
        | (Reply::NotFound { revision: None }, Reply::NotFound { revision: number })
        | (Reply::NotHeld { token: None }, Reply::NotHeld { token: number })
        | (Reply::Value { revision: None, .. }, Reply::Value { revision: number, .. }) => *number = None,
        _ => {}
    }
    *answer == right
}

struct LockOrders<'a> {
    operations: &'a [Operation],
}

/// When the lease was asked for, and how long it lasts: it cannot end before their sum.
type Lease = (u64, u64);

impl<'a> LockOrders<'a> {
    fn explain(&self, done: u32, now_ns: u64, holder: Option<&'a str>, token: u64, lease: Lease) -> bool {
        all_answered(self.operations, done)
            || candidates(self.operations, done).any(|at| {
                let operation = &self.operations[at];
                let at_ns = now_ns.max(operation.invoked_ns);
                let goes_on = |at_ns: u64, holder, lease| {
                    at_ns <= returned_ns(operation) && self.after(at, done, at_ns, holder, token, lease)
                };
                let over_ns = at_ns.max(lease.0 + lease.1);
                goes_on(at_ns, holder, lease) || (holder.is_some() && goes_on(over_ns, None, (0, 0)))
            })
    }

    fn after(&self, at: usize, done: u32, at_ns: u64, holder: Option<&'a str>, token: u64, lease: Lease) -> bool {
        let operation = &self.operations[at];
        let known = reply(operation).is_some();
        let lasts_ns = |ttl_ms: &Option<u64>| ttl_ms.unwrap_or(0) * NANOS_PER_MILLI;
        let highest = if holder.is_none() { HIGHEST.max(token) } else { token };
        (token..=highest).any(|token| {
            let (right, next) = match (&operation.action, holder) {
                (Action::Acquire { owner, .. }, Some(holder)) if owner == holder => {
                    (Reply::Acquired { token }, (Some(holder), token, lease))
                }
                (Action::Acquire { owner, ttl_ms }, None) => {
                    let lease = if known { (operation.invoked_ns, lasts_ns(ttl_ms)) } else { (0, 0) };
                    (Reply::Acquired { token: token + 1 }, (Some(owner.as_str()), token + 1, lease))
                }
                (Action::Extend { owner, ttl_ms }, Some(holder)) if owner == holder => {
                    let longer = (operation.invoked_ns, lasts_ns(ttl_ms));
                    let lease = if known { longer } else { (lease.0, longer.1.min(lease.1)) };
                    (Reply::Extended { token }, (Some(holder), token, lease))
                }
                (Action::Release { owner }, Some(holder)) if owner == holder => {
                    (Reply::Released, (None, token, (0, 0)))
                }
                (Action::Acquire { .. } | Action::LockInfo, Some(owner)) => {
                    (Reply::Held { owner: owner.into(), token }, (Some(owner), token, lease))
                }
                (_, Some(owner)) => (Reply::NotOwner { owner: owner.into(), token }, (Some(owner), token, lease)),
                (_, None) => (Reply::NotHeld { token: Some(token) }, (None, token, (0, 0))),
            };
            let (holder, token, lease) = next;
            fits(reply(operation), right) && self.explain(done | 1 << at, at_ns, holder, token, lease)
        })
    }
}
