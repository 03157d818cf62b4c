//! Every row of the locks table.

mod common;

use common::*;
use kahuna_protocol::lock::{Acquired, Held, LockAcquire, LockExtended, LockState, NotHeld, NotOwner, Released};
use kahuna_protocol::{ErrorCode, Outcome};

#[test]
fn a_free_lock_is_granted_and_a_held_one_names_its_holder() {
    let mut bench = Bench::new();
    let deadline_ms = START_MS + 1_000;
    assert_eq!(bench.run(acquire("l", "a", 1_000)), Acquired { token: 1, deadline_ms }.into());
    bench.clock_ms += 400;
    let held = Held { owner: b"a".to_vec(), token: 1, remaining_ms: 600 };
    assert_eq!(bench.run(acquire("l", "b", 1_000)), held.into());
    let state = LockState { owner: b"a".to_vec(), token: 1, deadline_ms, waiters: 0 };
    assert_eq!(answer(bench.read(info("l"))), state.into());
    assert_eq!(answer(bench.read(info("other"))), NotHeld { last_token: 0 }.into());
}

#[test]
fn acquiring_again_repeats_the_grant_and_does_not_prolong_it() {
    let mut bench = Bench::new();
    let first = bench.run(acquire("l", "a", 1_000));
    bench.clock_ms += 500;
    assert_eq!(bench.run(acquire("l", "a", 9_000)), first);
}

#[test]
fn only_the_holder_extends_and_it_may_shorten() {
    let mut bench = Bench::new();
    bench.acquire("l", "a", 10_000);
    let deadline_ms = START_MS + 20_000;
    assert_eq!(bench.run(extend_lock("l", "a", 20_000)), LockExtended { token: 1, deadline_ms }.into());
    let not_owner = Outcome::from(NotOwner { owner: b"a".to_vec(), token: 1 });
    assert_eq!(bench.run(extend_lock("l", "b", 1)), not_owner);
    assert_eq!(bench.run(release("l", "b")), not_owner);
    let deadline_ms = START_MS + 100;
    assert_eq!(bench.run(extend_lock("l", "a", 100)), LockExtended { token: 1, deadline_ms }.into());
    bench.clock_ms = deadline_ms + SKEW_MS + 1;
    assert_eq!(bench.run(extend_lock("l", "a", 100)), NotHeld { last_token: 1 }.into(), "an expired lock is nobody's");
}

#[test]
fn a_released_lock_is_free_and_its_next_token_is_higher() {
    let mut bench = Bench::new();
    bench.acquire("l", "a", 1_000);
    assert_eq!(bench.run(release("l", "a")), Released { token: 1 }.into());
    assert_eq!(bench.run(release("l", "a")), NotHeld { last_token: 1 }.into());
    assert_eq!(bench.run(extend_lock("l", "a", 1)), NotHeld { last_token: 1 }.into());
    assert_eq!(answer(bench.read(info("l"))), NotHeld { last_token: 1 }.into());
    assert_eq!(bench.acquire("l", "a", 1_000), 2, "the same owner gets a new token as well");
    assert_eq!(bench.run(release("fresh", "a")), NotHeld { last_token: 0 }.into());
}

#[test]
fn a_lease_ends_after_its_deadline_and_the_skew() {
    let mut bench = Bench::new();
    bench.acquire("l", "a", 1_000);
    bench.clock_ms = START_MS + 1_000 + SKEW_MS;
    let held = Held { owner: b"a".to_vec(), token: 1, remaining_ms: 0 };
    assert_eq!(bench.run(acquire("l", "b", 1_000)), held.into());
    bench.clock_ms += 1;
    assert_eq!(bench.acquire("l", "b", 1_000), 2);
    let not_owner = NotOwner { owner: b"b".to_vec(), token: 2 };
    assert_eq!(bench.run(release("l", "a")), not_owner.into());
}

#[test]
fn the_same_owner_gets_a_higher_token_after_expiry() {
    let mut bench = Bench::new();
    bench.acquire("l", "a", 1_000);
    bench.clock_ms += 1_000 + SKEW_MS + 1;
    assert_eq!(bench.acquire("l", "a", 1_000), 2);
}

#[test]
fn waiting_is_refused_and_leaves_no_trace() {
    let mut bench = Bench::new();
    let outcome = bench.run(LockAcquire { wait_ms: 5, ..acquire("l", "a", 1_000) });
    assert_eq!(code(&outcome), Some(ErrorCode::Unsupported));
    assert!(bench.machine.is_empty());
}

#[test]
fn a_ttl_beyond_all_time_does_not_overflow() {
    let mut bench = Bench::new();
    bench.acquire("l", "a", u64::MAX);
    bench.pass(1 << 40);
    assert!(matches!(bench.run(acquire("l", "b", 1)), Outcome::Held(_)));
}
