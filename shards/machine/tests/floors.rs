//! Records that have ended are collected, and what was minted under their names never comes back.

mod common;

use common::*;
use kahuna_protocol::Outcome;
use kahuna_protocol::key::{Compacted, KeySet};
use kahuna_protocol::lock::NotHeld;

/// How long the dead stay, in milliseconds, and a little more.
const STAY_MS: u64 = 600_000 + SKEW_MS + 1;

#[test]
fn a_collected_tombstone_raises_the_floor_of_revisions() {
    let mut bench = Bench::new();
    (0..5).for_each(|_| assert!(bench.set("gone", "v") > 0));
    bench.run(delete("gone"));
    bench.pass(STAY_MS - SKEW_MS - 2);
    assert_eq!(bench.machine.len(), 1, "not yet");
    bench.pass(SKEW_MS + 2);
    assert_eq!(bench.machine.len(), 0);
    assert_eq!(bench.answer(get("gone")), not_found(6));
    assert_eq!(bench.answer(get("never")), not_found(6), "the floor is the partition's");
    assert_eq!(bench.set("gone", "v"), 7);
    assert_eq!(bench.set("never", "v"), 7);
}

#[test]
fn an_expired_key_is_collected_as_well() {
    let mut bench = Bench::new();
    bench.run(KeySet { ttl_ms: Some(1_000), ..set("k", "v") });
    bench.set("stays", "v");
    bench.pass(1_000 + STAY_MS);
    assert_eq!(bench.machine.len(), 1);
    assert_eq!(bench.set("k", "v"), 2);
}

#[test]
fn collected_locks_raise_the_floor_of_tokens() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.acquire("released", "a", 1_000);
        bench.release("released", "a");
    }
    bench.acquire("expired", "a", 1_000);
    bench.acquire("held", "a", 10 * STAY_MS);
    bench.pass(1_000 + STAY_MS);
    assert_eq!(bench.machine.len(), 1, "the held one stays");
    assert_eq!(bench.answer(info("released")), NotHeld { last_token: 3 }.into());
    assert_eq!(bench.acquire("expired", "b", 1_000), 4);
    assert_eq!(bench.acquire("fresh", "b", 1_000), 4);
}

#[test]
fn before_a_collection_absence_proves_nothing() {
    let mut bench = Bench::new();
    bench.set("k", "v");
    let alive = bench.machine.time();
    bench.run(delete("k"));
    let deleted = bench.machine.time();
    bench.set("other", "v");
    bench.pass(STAY_MS);
    let gone = |oldest| Outcome::from(Compacted { oldest });
    assert_eq!(bench.answer(get_as_of("k", alive)), gone(3));
    assert_eq!(bench.answer(get_as_of("k", deleted)), not_found(2));
    assert_eq!(bench.answer(get_revision("k", 1)), gone(3));
    let mut past = scan("k", 10);
    past.as_of = Some(alive.0);
    assert_eq!(bench.answer(past), gone(3));
    bench.set("k", "again");
    assert_eq!(bench.answer(get_as_of("k", alive)), gone(3), "the new life says nothing about the old one");
}

#[test]
fn a_burst_of_dead_records_is_swept_a_few_at_a_time() {
    let mut bench = Bench::new();
    for n in 0..100 {
        bench.set(&format!("k{n:03}"), "v");
        bench.run(delete(&format!("k{n:03}")));
    }
    bench.clock_ms += STAY_MS;
    let mut last = bench.machine.len();
    assert_eq!(last, 100);
    while last > 0 {
        bench.run(kahuna_protocol::meta::Tick { to: 0 });
        let left = bench.machine.len();
        assert!(left < last && last - left <= 8, "{last} to {left}");
        last = left;
    }
}
