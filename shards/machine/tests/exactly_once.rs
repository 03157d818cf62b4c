//! A repeat gets the first answer; what comes too late is not applied, and says what can be said.

mod common;

use common::*;
use kahuna_machine::Range;
use kahuna_protocol::key::Set;
use kahuna_protocol::limits::{MAX_VALID_FOR_MS, PARTITION_ANSWER_BYTES};
use kahuna_protocol::meta::{Settings, Tick};
use kahuna_protocol::{ErrorCode, Outcome, RequestPrelude, SessionId};

/// The grace of the default settings, in milliseconds.
const GRACE_MS: u64 = 60_000;

fn call(session: u64, number: u64, valid_until_ms: u64) -> RequestPrelude {
    RequestPrelude { session: SessionId(session), number, valid_until_ms, ..RequestPrelude::default() }
}

fn acknowledging(acknowledged: u64, prelude: RequestPrelude) -> RequestPrelude {
    RequestPrelude { acknowledged, ..prelude }
}

#[test]
fn a_repeat_returns_the_first_outcome_and_applies_nothing() {
    let mut bench = Bench::new();
    let prelude = call(7, 1, START_MS + 10_000);
    assert_eq!(bench.run_as(prelude, set("k", "v")), Set { revision: 1 }.into());
    bench.set("k", "w");
    assert_eq!(bench.run_as(prelude, set("k", "v")), Set { revision: 1 }.into());
    assert_eq!(bench.value("k").expect("there").revision, 2);
    assert_eq!(
        bench.run_as(call(8, 1, START_MS + 10_000), set("k", "v")),
        Set { revision: 3 }.into(),
        "another session"
    );
}

#[test]
fn a_recorded_refusal_stays_one() {
    let mut bench = Bench::new();
    bench.acquire("l", "a", 60_000);
    let prelude = call(7, 1, START_MS + 10_000);
    let held = bench.run_as(prelude, acquire("l", "b", 1_000));
    assert!(matches!(held, Outcome::Held(_)));
    bench.release("l", "a");
    assert_eq!(bench.run_as(prelude, acquire("l", "b", 1_000)), held);
}

#[test]
fn a_repeat_in_the_same_batch_is_one_as_well() {
    let mut bench = Bench::new();
    let prelude = call(7, 1, START_MS + 10_000);
    let twice = batch(bench.clock_ms, [(prelude, set("k", "v").into()), (prelude, set("k", "v").into())]);
    let outcomes = bench.machine.apply(&twice).expect("readable").outcomes;
    assert_eq!(outcomes, [Set { revision: 1 }.into(), Set { revision: 1 }.into()]);
}

#[test]
fn the_same_number_with_another_request_is_a_conflict_and_leaves_the_record() {
    let mut bench = Bench::new();
    let prelude = call(7, 1, START_MS + 10_000);
    bench.run_as(prelude, set("k", "v"));
    assert_eq!(code(&bench.run_as(prelude, set("k", "other"))), Some(ErrorCode::Conflict));
    assert_eq!(code(&bench.run_as(prelude, delete("k"))), Some(ErrorCode::Conflict));
    assert_eq!(bench.run_as(prelude, set("k", "v")), Set { revision: 1 }.into());
}

#[test]
fn past_valid_until_it_is_expired_within_the_grace_and_forgotten_after() {
    let mut bench = Bench::new();
    let prelude = call(7, 1, START_MS + 1_000);
    bench.clock_ms = START_MS + 1_001;
    assert_eq!(code(&bench.run_as(prelude, set("k", "v"))), Some(ErrorCode::Expired));
    bench.clock_ms = START_MS + 1_000 + GRACE_MS;
    assert_eq!(code(&bench.run_as(prelude, set("k", "v"))), Some(ErrorCode::Expired));
    bench.clock_ms += 1;
    assert_eq!(code(&bench.run_as(prelude, set("k", "v"))), Some(ErrorCode::Forgotten));
    assert!(bench.machine.is_empty(), "none of them was applied");
    assert_eq!(bench.machine.answers(), 0, "none of them was recorded");
}

#[test]
fn a_record_outlives_valid_until_by_the_grace() {
    let mut bench = Bench::new();
    let prelude = call(7, 1, START_MS + 1_000);
    bench.run_as(prelude, set("k", "v"));
    bench.clock_ms = START_MS + 1_000 + GRACE_MS;
    assert_eq!(bench.run_as(prelude, set("k", "v")), Set { revision: 1 }.into());
    bench.pass(1);
    assert_eq!(bench.machine.answers(), 0);
    assert_eq!(code(&bench.run_as(prelude, set("k", "v"))), Some(ErrorCode::Forgotten));
}

#[test]
fn acknowledged_answers_are_dropped_and_their_numbers_forgotten() {
    let mut bench = Bench::new();
    let until = START_MS + 10_000;
    for number in 1..=3 {
        bench.run_as(call(7, number, until), set("k", "v"));
    }
    assert_eq!(bench.machine.answers(), 3);
    bench.run_as(acknowledging(3, call(7, 4, until)), set("k", "v"));
    assert_eq!(bench.machine.answers(), 2);
    assert_eq!(code(&bench.run_as(call(7, 2, until), set("k", "v"))), Some(ErrorCode::Forgotten));
    assert_eq!(bench.run_as(call(7, 3, until), set("k", "v")), Set { revision: 3 }.into());
}

#[test]
fn a_late_copy_of_an_acknowledged_command_is_never_applied_again() {
    let mut bench = Bench::new();
    let late = call(7, 1, START_MS + 500_000);
    bench.run_as(late, set("k", "v"));
    // The next command acknowledges it and is valid for a moment only; its record goes long before the copy comes.
    bench.run_as(acknowledging(2, call(7, 2, START_MS + 1)), set("k", "w"));
    bench.pass(1 + GRACE_MS + 1);
    assert_eq!(bench.machine.answers(), 0);
    assert_eq!(code(&bench.run_as(late, set("k", "v"))), Some(ErrorCode::Forgotten));
    assert_eq!(bench.value("k").expect("there").value, b"w");
}

#[test]
fn many_acknowledged_answers_go_over_several_commands() {
    let mut bench = Bench::new();
    let until = START_MS + 10_000;
    for number in 1..=1_000 {
        bench.run_as(call(7, number, until), set("k", "v"));
    }
    for number in 1_001..=1_005 {
        bench.run_as(acknowledging(1_001, call(7, number, until)), set("k", "v"));
    }
    assert_eq!(bench.machine.answers(), 5);
}

#[test]
fn valid_until_too_far_ahead_is_refused_by_the_leaders_stamp() {
    let mut bench = Bench::new();
    // The machine has slept for long: only the batch's stamp knows how late it is.
    bench.run(Tick { to: 0 });
    bench.clock_ms += 100 * MAX_VALID_FOR_MS;
    let limit = bench.clock_ms + MAX_VALID_FOR_MS + SKEW_MS;
    assert_eq!(bench.run_as(call(7, 1, limit), set("k", "v")), Set { revision: 1 }.into());
    assert_eq!(code(&bench.run_as(call(7, 2, limit + 1), set("k", "v"))), Some(ErrorCode::BadRequest));
}

#[test]
fn beyond_the_session_limit_new_sessions_are_refused_and_old_ones_served() {
    let mut bench = Bench::with(Settings { max_sessions: 2, ..settings() }, Range::all(1));
    let until = START_MS + 1_000;
    bench.run_as(call(1, 1, until), set("k", "v"));
    bench.run_as(call(2, 1, until), set("k", "v"));
    let refused = bench.run_as(call(3, 1, until), set("k", "v"));
    assert_eq!(code(&refused), Some(ErrorCode::Overloaded));
    assert!(matches!(refused, Outcome::Error(reply) if reply.retry_after_ms > 0));
    assert_eq!(bench.run_as(call(1, 2, until), set("k", "v")), Set { revision: 3 }.into());
    bench.pass(1_000 + GRACE_MS + 1);
    let until = bench.clock_ms + 1_000;
    assert_eq!(bench.run_as(call(3, 1, until), set("k", "v")), Set { revision: 4 }.into(), "the old ones have ended");
}

/// Claim: beyond the bytes that a partition keeps of answers a session's command is refused before anything is decided, on a
/// replica that was restored as well; what has a recorded answer gets it, and room comes back with what is acknowledged.
#[test]
fn beyond_the_bytes_of_answers_commands_of_sessions_are_refused_and_repeats_answered() {
    let mut bench = Bench::new();
    let owner = "o".repeat(256);
    bench.acquire("l", &owner, 3_600_000);
    let until = START_MS + 500_000;
    let held = 320 + 256;
    let last = u64::div_ceil(PARTITION_ANSWER_BYTES, held);
    let mut number = 0;
    while number < last {
        let count = (last - number).min(1_024);
        let requests = (1..=count).map(|more| (call(7, number + more, until), acquire("l", "b", 1_000).into()));
        let outcomes = bench.machine.apply(&batch(bench.clock_ms, requests)).expect("readable").outcomes;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Held(_))));
        number += count;
    }
    assert_eq!((bench.machine.answers() as u64, bench.machine.answer_bytes()), (last, last * held));
    let mut twin = Bench { machine: restored(&blocks(&bench.machine)), ..Bench::new() };
    for bench in [&mut bench, &mut twin] {
        for session in [7, 8] {
            match bench.run_as(call(session, last + 1, until), set("k", "v")) {
                Outcome::Error(reply) => {
                    assert_eq!((reply.code(), reply.retry_after_ms > 0), (ErrorCode::Overloaded, true));
                    assert!(reply.text.contains("partition_answer_bytes"), "{}", reply.text);
                    assert!(reply.text.contains(&PARTITION_ANSWER_BYTES.to_string()), "{}", reply.text);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(bench.value("k").is_none(), "nothing was applied");
        assert!(matches!(bench.run_as(call(7, 1, until), acquire("l", "b", 1_000)), Outcome::Held(_)), "a repeat");
        assert!(matches!(bench.run(acquire("l", "b", 1_000)), Outcome::Held(_)), "in no session");
        let refused = bench.run_as(acknowledging(2, call(7, last + 1, until)), set("k", "v"));
        assert_eq!(code(&refused), Some(ErrorCode::Overloaded), "it comes before its own acknowledgement");
        assert_eq!(bench.run_as(call(8, 1, until), set("k", "v")), Set { revision: 1 }.into(), "room for one more");
    }
    assert_eq!(
        (bench.machine.answer_bytes(), bench.machine.hash()),
        (twin.machine.answer_bytes(), twin.machine.hash())
    );
}

#[test]
fn refusals_that_decide_nothing_are_not_recorded() {
    let mut bench = Bench::with(settings(), Range::none());
    let prelude = call(7, 1, START_MS + 10_000);
    assert_eq!(code(&bench.run_as(prelude, set("k", "v"))), Some(ErrorCode::Moved));
    let mut bench = Bench::new();
    assert_eq!(code(&bench.run_as(prelude, set("", "v"))), Some(ErrorCode::BadRequest));
    assert_eq!(bench.run_as(prelude, set("k", "v")), Set { revision: 1 }.into(), "the number is still free");
}

#[test]
fn a_recorded_answer_is_found_before_the_range_is_asked() {
    let mut bench = Bench::new();
    let prelude = call(7, 1, START_MS + 10_000);
    bench.run_as(prelude, set("k", "v"));
    bench.clock_ms += 11_000;
    assert_eq!(bench.run_as(prelude, set("k", "v")), Set { revision: 1 }.into(), "nor the time");
}

#[test]
fn without_a_session_nothing_is_remembered() {
    let mut bench = Bench::new();
    assert_eq!(bench.set("k", "v"), 1);
    assert_eq!(bench.set("k", "v"), 2);
    assert_eq!(bench.machine.answers(), 0);
}

#[test]
fn only_the_partition_that_a_request_belongs_to_says_that_it_never_was_applied() {
    let mut bench = Bench::with(settings(), Range::none());
    bench.clock_ms = START_MS + 1_001;
    assert_eq!(code(&bench.run_as(call(7, 1, START_MS + 1_000), set("k", "v"))), Some(ErrorCode::Moved));
}
