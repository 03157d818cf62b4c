//! Sequences: what is drawn, where it ends, and what an idempotency key returns.

mod common;

use common::*;
use kahuna_machine::Range;
use kahuna_protocol::meta::Settings;
use kahuna_protocol::sequence::{
    Allocated, Exhausted, SequenceCreated, SequenceDeleted, SequenceExists, SequenceGet, SequenceNotFound,
    SequenceState,
};
use kahuna_protocol::{ErrorCode, Outcome};

fn drawn(incarnation: u64, start: i64, end: i64, count: u64) -> Outcome {
    Allocated { incarnation, start, end, count }.into()
}

#[test]
fn values_rise_without_gaps_from_initial_plus_increment() {
    let mut bench = Bench::new();
    assert_eq!(bench.run(create("s", 10, 5, None)), SequenceCreated { incarnation: 1 }.into());
    assert_eq!(bench.run(next("s")), drawn(1, 15, 15, 1));
    assert_eq!(bench.run(reserve("s", 3, "")), drawn(1, 20, 30, 3));
    assert_eq!(bench.run(next("s")), drawn(1, 35, 35, 1));
    let state = SequenceState { incarnation: 1, value: 35, increment: 5, max: None };
    assert_eq!(answer(bench.read(SequenceGet { name: b"s".to_vec() })), state.into());
}

#[test]
fn a_second_create_changes_nothing() {
    let mut bench = Bench::new();
    bench.run(create("s", 0, 1, None));
    bench.run(next("s"));
    assert_eq!(bench.run(create("s", 100, 7, Some(1))), SequenceExists { incarnation: 1, value: 1 }.into());
    assert_eq!(bench.run(next("s")), drawn(1, 2, 2, 1));
}

#[test]
fn over_max_nothing_is_consumed() {
    let mut bench = Bench::new();
    bench.run(create("s", 0, 2, Some(7)));
    assert_eq!(bench.run(reserve("s", 4, "")), Exhausted { incarnation: 1, value: 0, remaining: 3 }.into());
    assert_eq!(bench.run(reserve("s", 3, "")), drawn(1, 2, 6, 3));
    assert_eq!(bench.run(next("s")), Exhausted { incarnation: 1, value: 6, remaining: 0 }.into());
    bench.run(create("down", 0, -3, Some(-4)));
    assert_eq!(bench.run(next("down")), drawn(1, -3, -3, 1));
    assert_eq!(bench.run(next("down")), Exhausted { incarnation: 1, value: -3, remaining: 0 }.into());
}

#[test]
fn the_ends_of_i64_are_reached_and_not_passed() {
    let mut bench = Bench::new();
    bench.run(create("s", i64::MAX - 2, 1, None));
    assert_eq!(
        bench.run(reserve("s", u64::MAX, "")),
        Exhausted { incarnation: 1, value: i64::MAX - 2, remaining: 2 }.into()
    );
    assert_eq!(bench.run(reserve("s", 2, "")), drawn(1, i64::MAX - 1, i64::MAX, 2));
    assert_eq!(bench.run(next("s")), Exhausted { incarnation: 1, value: i64::MAX, remaining: 0 }.into());
}

#[test]
fn the_incarnation_rises_with_every_life_of_a_name() {
    let mut bench = Bench::new();
    assert_eq!(bench.run(next("s")), SequenceNotFound { last_incarnation: 0 }.into());
    bench.run(create("s", 0, 1, None));
    assert_eq!(bench.run(delete_sequence("s")), SequenceDeleted { incarnation: 1 }.into());
    assert_eq!(bench.run(delete_sequence("s")), SequenceNotFound { last_incarnation: 1 }.into());
    let gone = bench.read(SequenceGet { name: b"s".to_vec() });
    assert_eq!(answer(gone), SequenceNotFound { last_incarnation: 1 }.into());
    assert_eq!(bench.run(create("s", 0, 1, None)), SequenceCreated { incarnation: 2 }.into());
    assert_eq!(bench.run(next("s")), drawn(2, 1, 1, 1));
}

#[test]
fn an_idempotency_key_returns_its_first_draw_for_ten_minutes() {
    let mut bench = Bench::new();
    bench.run(create("s", 0, 1, None));
    assert_eq!(bench.run(reserve("s", 2, "order-1")), drawn(1, 1, 2, 2));
    assert_eq!(bench.run(reserve("s", 2, "order-2")), drawn(1, 3, 4, 2));
    bench.pass(599_000);
    assert_eq!(bench.run(reserve("s", 2, "order-1")), drawn(1, 1, 2, 2));
    assert_eq!(code(&bench.run(reserve("s", 3, "order-1"))), Some(ErrorCode::Conflict));
    bench.pass(2_000);
    assert_eq!(bench.run(reserve("s", 2, "order-1")), drawn(1, 5, 6, 2), "the key has been forgotten");
}

#[test]
fn an_idempotency_key_belongs_to_one_incarnation() {
    let mut bench = Bench::new();
    bench.run(create("s", 0, 1, None));
    bench.run(reserve("s", 2, "key"));
    bench.run(delete_sequence("s"));
    bench.run(create("s", 50, 1, None));
    assert_eq!(bench.run(reserve("s", 1, "key")), drawn(2, 51, 51, 1));
    assert_eq!(bench.run(reserve("s", 1, "key")), drawn(2, 51, 51, 1));
}

#[test]
fn an_exhausted_draw_is_not_remembered_under_its_key() {
    let mut bench = Bench::new();
    bench.run(create("s", 0, 1, Some(3)));
    assert!(matches!(bench.run(reserve("s", 4, "key")), Outcome::Exhausted(_)));
    assert_eq!(bench.run(reserve("s", 3, "key")), drawn(1, 1, 3, 3));
    assert_eq!(bench.run(reserve("s", 3, "key")), drawn(1, 1, 3, 3));
}

#[test]
fn a_restore_epoch_stands_above_every_number() {
    let mut bench = Bench::with(Settings { restore_epoch: 3, ..settings() }, Range::all(1));
    let first = (3 << 48) | 1;
    assert_eq!(bench.run(create("s", 0, 1, None)), SequenceCreated { incarnation: first }.into());
    assert_eq!(bench.set("k", "v"), first);
    assert_eq!(bench.acquire("l", "a", 1), first);
}
