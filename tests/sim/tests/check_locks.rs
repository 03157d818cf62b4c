//! Claim: tokens rise with every grant, and a lease is not taken over before its time. Method: histories by hand.

mod check_support;

use check_support::{Line, accept, acquire, bare, holder, lock, reject, release, token};
use kahuna_sim::check::Op::{LockExtend, LockInfo};
use kahuna_sim::check::Outcome::{Acquired, Held, LockExtended, NotHeld, NotOwner, Released};

const MILLI: u64 = 1_000_000;

fn leased(owner: &str, from: u64, to: u64, granted: u64) -> Line {
    acquire("l", owner).with(|event| event.ttl_ms = Some(10)).ok(from, to, token(Acquired, granted))
}

#[test]
fn a_sequential_life_of_a_lock_is_accepted() {
    accept(&[
        acquire("l", "a").ok(0, 1, token(Acquired, 1)),
        acquire("l", "b").ok(2, 3, holder(Held, "a", 1)),
        acquire("l", "a").ok(4, 5, token(Acquired, 1)),
        lock(LockExtend, "l", "a").ok(6, 7, token(LockExtended, 1)),
        release("l", "b").ok(8, 9, holder(NotOwner, "a", 1)),
        release("l", "a").ok(10, 11, bare(Released)),
        release("l", "a").ok(12, 13, bare(NotHeld)),
        lock(LockInfo, "l", "x").ok(14, 15, token(NotHeld, 1)),
        acquire("l", "b").ok(16, 17, token(Acquired, 2)),
        lock(LockInfo, "l", "x").ok(18, 19, holder(Held, "b", 2)),
    ]);
}

#[test]
fn a_token_that_goes_back_is_rejected() {
    let first = [acquire("l", "a").ok(0, 1, token(Acquired, 7)), release("l", "a").ok(2, 3, bare(Released))];
    let with = |last: Line| [first[0].clone(), first[1].clone(), last];
    reject(&with(acquire("l", "b").ok(4, 5, token(Acquired, 6))), &[2]);
    reject(&with(acquire("l", "b").ok(4, 5, token(Acquired, 7))), &[2]);
    reject(&with(acquire("l", "a").ok(4, 5, token(Acquired, 7))), &[2]);
    reject(&with(lock(LockInfo, "l", "x").ok(4, 5, token(NotHeld, 6))), &[2]);
    accept(&with(acquire("l", "a").ok(4, 5, token(Acquired, 8))));
}

#[test]
fn one_token_for_two_owners_is_rejected() {
    reject(&[acquire("l", "a").ok(0, 9, token(Acquired, 1)), acquire("l", "b").ok(0, 9, token(Acquired, 1))], &[1]);
}

#[test]
fn a_lease_is_not_taken_over_before_its_time() {
    let first = leased("a", 0, 1, 1);
    reject(&[first.clone(), leased("b", 2, 10 * MILLI - 1, 2)], &[1]);
    accept(&[first.clone(), leased("b", 2, 10 * MILLI, 2)]);
    reject(&[first.clone(), lock(LockInfo, "l", "x").ok(2, 3, token(NotHeld, 1))], &[1]);
    // An extension counts from when it was asked for.
    let longer = lock(LockExtend, "l", "a").with(|event| event.ttl_ms = Some(10)).ok(5, 6, token(LockExtended, 1));
    reject(&[first.clone(), longer, leased("b", 7, 10 * MILLI + 4, 2)], &[2]);
    // A release of unknown outcome may have ended it.
    accept(&[first.clone(), release("l", "a").info(2, 3), leased("b", 4, 5, 2)]);
    reject(&[first, release("l", "c").info(2, 3), leased("b", 4, 5, 2)], &[2]);
}

#[test]
fn a_release_by_one_who_does_not_hold_is_rejected() {
    reject(
        &[
            acquire("l", "a").ok(0, 1, token(Acquired, 1)),
            acquire("l", "b").ok(2, 3, token(Acquired, 2)),
            release("l", "a").ok(4, 5, bare(Released)),
        ],
        &[2],
    );
}

#[test]
fn an_owner_that_is_refused_on_account_of_itself_is_rejected() {
    let granted = acquire("l", "a").ok(0, 1, token(Acquired, 1));
    reject(&[granted.clone(), acquire("l", "a").ok(2, 3, holder(Held, "a", 1))], &[1]);
    reject(&[granted, release("l", "a").ok(2, 3, holder(NotOwner, "a", 1))], &[1]);
}

#[test]
fn a_grant_of_unknown_outcome_may_show_later() {
    let lost = acquire("l", "a").info(0, 1);
    accept(&[lost.clone(), acquire("l", "b").ok(2, 3, holder(Held, "a", 4))]);
    accept(&[lost.clone(), acquire("l", "b").ok(2, 3, token(Acquired, 5))]);
    reject(&[lost, acquire("l", "b").ok(2, 3, holder(Held, "c", 4))], &[1]);
    reject(&[acquire("l", "a").fail(0, 1), acquire("l", "b").ok(2, 3, holder(Held, "a", 4))], &[1]);
}
