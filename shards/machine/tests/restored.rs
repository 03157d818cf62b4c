//! After a restore nothing is minted, or said to be the last number, that was said before: not even by commands whose
//! effects were lost.

mod common;

use common::workload::Workload;
use common::*;
use kahuna_protocol::lock::{Acquired, NotHeld, NotOwner, Released};
use kahuna_protocol::meta::Settings;
use kahuna_protocol::sequence::{Allocated, SequenceNotFound};
use kahuna_protocol::{Outcome, Request, RequestPrelude};

const EPOCH: u16 = 1;
const BASE: u64 = (EPOCH as u64) << 48;

/// Every number that an outcome tells.
fn numbers(outcome: &Outcome) -> Vec<u64> {
    match outcome {
        Outcome::Acquired(body) => vec![body.token],
        Outcome::Held(body) => vec![body.token],
        Outcome::LockExtended(body) => vec![body.token],
        Outcome::NotHeld(body) => vec![body.last_token],
        Outcome::NotOwner(body) => vec![body.token],
        Outcome::Released(body) => vec![body.token],
        Outcome::Set(body) => vec![body.revision],
        Outcome::NotSet(body) => vec![body.revision],
        Outcome::Deleted(body) => vec![body.revision],
        Outcome::NotFound(body) => vec![body.revision],
        Outcome::KeyExtended(body) => vec![body.revision],
        Outcome::SequenceCreated(body) => vec![body.incarnation],
        Outcome::SequenceExists(body) => vec![body.incarnation],
        Outcome::SequenceDeleted(body) => vec![body.incarnation],
        Outcome::SequenceNotFound(body) => vec![body.last_incarnation],
        Outcome::Allocated(body) => vec![body.incarnation],
        Outcome::Exhausted(body) => vec![body.incarnation],
        _ => Vec::new(),
    }
}

/// Whether the outcome may name a number of what was there before: a live value's revision, a holder's token.
fn speaks_of_the_living(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Acquired(_)
            | Outcome::Held(_)
            | Outcome::LockExtended(_)
            | Outcome::NotOwner(_)
            | Outcome::Released(_)
            | Outcome::NotSet(_)
            | Outcome::KeyExtended(_)
    )
}

fn run(seed: u64) {
    let mut workload = Workload::new(seed);
    let mut bench = Bench::with(Settings { history_revisions: 3, ..settings() }, kahuna_machine::Range::all(1));
    let step = |bench: &mut Bench, workload: &mut Workload| {
        bench.clock_ms += workload.step_ms();
        let prelude = workload.prelude(bench.clock_ms);
        let request = workload.request();
        let outcome = bench.run_as(prelude, request.clone());
        (request, outcome)
    };
    (0..200).for_each(|_| drop(step(&mut bench, &mut workload)));
    let kept = blocks(&bench.machine);
    // What follows is acknowledged, and then lost.
    let mut highest = 0;
    for _ in 0..200 {
        let (_, outcome) = step(&mut bench, &mut workload);
        highest = numbers(&outcome).into_iter().fold(highest, u64::max);
    }
    assert!(highest > 0 && highest < BASE, "seed {seed}");

    let mut machine = restored(&kept);
    machine.raise_restore_epoch(EPOCH);
    let mut bench = Bench { machine: restored(&blocks(&machine)), clock_ms: bench.clock_ms };
    for _ in 0..400 {
        bench.clock_ms += workload.step_ms();
        let request: Request = workload.request();
        let outcome = bench.run_as(RequestPrelude::default(), request.clone());
        for number in numbers(&outcome) {
            let old = number < BASE && speaks_of_the_living(&outcome);
            assert!(number >= BASE || old, "seed {seed}: {request:?} says {outcome:?}");
        }
    }
}

#[test]
fn nothing_said_after_a_restore_was_said_before() {
    (0..40).for_each(run);
}

#[test]
fn the_living_keep_their_numbers_and_the_next_ones_are_higher() {
    let mut bench = Bench::new();
    let old = bench.acquire("held", "ann", 100_000);
    bench.acquire("free", "ann", 100_000);
    bench.release("free", "ann");
    assert_eq!(bench.set("k", "v"), 1);
    bench.set("dead", "v");
    bench.run(delete("dead"));
    bench.run(create("s", 0, 1, None));
    bench.run(next("s"));
    bench.machine.raise_restore_epoch(EPOCH);

    let value = bench.value("k").expect("it is there");
    assert_eq!((&value.value[..], value.revision), (&b"v"[..], 1));
    let held = bench.run(acquire("held", "ann", 100_000));
    assert!(matches!(held, Outcome::Acquired(Acquired { token, .. }) if token == old), "{held:?}");
    let other = bench.run(release("held", "bob"));
    assert_eq!(other, NotOwner { owner: b"ann".to_vec(), token: old }.into());
    assert_eq!(bench.run(release("held", "ann")), Released { token: old }.into());

    assert_eq!(bench.answer(info("held")), NotHeld { last_token: BASE | 1 }.into());
    assert_eq!(bench.answer(info("free")), NotHeld { last_token: BASE | 1 }.into());
    assert_eq!(bench.answer(info("fresh")), NotHeld { last_token: BASE }.into());
    assert_eq!(bench.answer(get("dead")), not_found(BASE | 2));
    assert_eq!(bench.answer(get("fresh")), not_found(BASE));
    assert_eq!(bench.run(delete("dead")), not_found(BASE | 2));
    assert_eq!(bench.run(next("fresh")), SequenceNotFound { last_incarnation: BASE }.into());
    assert_eq!(bench.run(next("s")), Allocated { incarnation: BASE | 1, start: 2, end: 2, count: 1 }.into());
    assert_eq!((bench.set("k", "w"), bench.set("dead", "w"), bench.set("fresh", "w")), (BASE | 2, BASE | 3, BASE | 1));
    assert_eq!(bench.acquire("held", "bob", 1), BASE | 2);
}

#[test]
fn an_epoch_is_never_lowered() {
    let mut bench = Bench::with(Settings { restore_epoch: 3, ..settings() }, kahuna_machine::Range::all(1));
    bench.machine.raise_restore_epoch(2);
    assert_eq!(bench.machine.settings().restore_epoch, 3);
    assert_eq!(bench.set("k", "v"), (3 << 48) | 1);
}
