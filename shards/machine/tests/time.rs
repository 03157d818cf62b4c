//! Machine time: it only rises, and it decides who is alive.

mod common;

use common::*;
use kahuna_machine::Read;
use kahuna_protocol::key::KeySet;
use kahuna_protocol::lock::NotHeld;
use kahuna_protocol::meta::{Done, Tick};
use kahuna_protocol::{ErrorCode, Hlc, Outcome, ReadLevel, Request};

#[test]
fn stamps_rise_with_every_command_even_if_the_leaders_clock_goes_back() {
    let mut bench = Bench::new();
    let mut last = 0;
    for clock_ms in [START_MS, START_MS, START_MS - 500, 0, START_MS + 1, 1] {
        bench.clock_ms = clock_ms;
        let requests: Vec<Request> = (0..3).map(|n| set(&format!("k{n}"), "v").into()).collect();
        bench.run_all(requests);
        for n in 0..3 {
            let Outcome::Value(value) = answer(bench.read(get(&format!("k{n}")))) else { panic!("no value") };
            assert!(value.modified > last, "{} after {last}", value.modified);
            last = value.modified;
        }
        assert_eq!(bench.machine.time().0, last);
    }
}

#[test]
fn a_tick_moves_time_forward_and_never_back() {
    let mut bench = Bench::new();
    let to = Hlc::from_millis(START_MS + 5_000);
    assert_eq!(bench.run(Tick { to: to.0 }), Done {}.into());
    assert_eq!(bench.machine.time(), to);
    bench.run(Tick { to: 1 });
    assert_eq!(bench.machine.time(), to.next());
}

#[test]
fn a_tick_that_no_leader_in_order_asks_for_ends_no_lease() {
    let mut bench = Bench::new();
    bench.acquire("k", "a", 60_000);
    let day_ms = 24 * 3_600_000;
    for to in [Hlc(u64::MAX), Hlc(u64::MAX / 2), Hlc::from_millis(START_MS + SKEW_MS + day_ms + 1)] {
        assert_eq!(code(&bench.run(Tick { to: to.0 })), Some(ErrorCode::BadRequest), "to {to}");
        assert!(bench.machine.time().millis() <= START_MS + 1, "to {to}");
        assert!(matches!(bench.read(info("k")), Read::Answer(Outcome::LockState(_))), "to {to}");
    }
    assert_eq!(bench.run(Tick { to: Hlc::from_millis(START_MS + SKEW_MS + day_ms).0 }), Done {}.into());
}

#[test]
fn a_read_of_what_the_clock_has_ended_asks_for_a_tick_first() {
    let mut bench = Bench::new();
    bench.run(KeySet { ttl_ms: Some(1_000), ..set("k", "v") });
    bench.acquire("k", "a", 1_000);
    bench.clock_ms = START_MS + 1_000 + SKEW_MS;
    assert!(matches!(bench.read(get("k")), Read::Answer(Outcome::Value(_))), "the skew is not over");
    bench.clock_ms += 1;
    let to = Hlc::from_millis(bench.clock_ms);
    assert_eq!(bench.read(get("k")), Read::NeedsTick(to));
    assert_eq!(bench.read(get_revision("k", 1)), Read::NeedsTick(to));
    assert_eq!(bench.read(info("k")), Read::NeedsTick(to));
    assert_eq!(bench.read(scan("k", 10)), Read::NeedsTick(to));
    bench.run(Tick { to: to.0 });
    assert_eq!(bench.read(get("k")), Read::Answer(not_found(1)));
    assert_eq!(bench.read(info("k")), Read::Answer(NotHeld { last_token: 1 }.into()));
    assert!(matches!(bench.read(scan("k", 10)), Read::Answer(Outcome::Page(page)) if page.items.is_empty()));
}

#[test]
fn a_dead_record_is_not_shown_by_a_clock_that_went_back() {
    let mut bench = Bench::new();
    bench.run(KeySet { ttl_ms: Some(1_000), ..set("k", "v") });
    bench.run(Tick { to: Hlc::from_millis(START_MS + 1_000 + SKEW_MS + 1).0 });
    bench.clock_ms = START_MS;
    assert_eq!(bench.read(get("k")), Read::Answer(not_found(1)));
}

#[test]
fn a_stale_read_leaves_out_what_its_clock_has_ended() {
    let mut bench = Bench::new();
    bench.run(KeySet { ttl_ms: Some(1_000), ..set("k", "v") });
    bench.clock_ms += 1_000 + SKEW_MS + 1;
    assert_eq!(bench.read_at(ReadLevel::Stale, get("k")), Read::Answer(not_found(1)));
    let page = bench.read_at(ReadLevel::Stale, scan("k", 10));
    assert!(matches!(page, Read::Answer(Outcome::Page(page)) if page.items.is_empty()));
}

#[test]
fn a_read_as_of_the_future_waits_for_it_unless_nobodys_clock_can_be_there() {
    let mut bench = Bench::new();
    bench.set("k", "v");
    let soon = Hlc::from_millis(START_MS + SKEW_MS);
    assert_eq!(bench.read(get_as_of("k", soon)), Read::NeedsTick(soon));
    bench.run(Tick { to: soon.0 });
    assert!(matches!(bench.read(get_as_of("k", soon)), Read::Answer(Outcome::Value(_))));
    let far = Hlc::from_millis(START_MS + 10 * SKEW_MS);
    assert_eq!(code(&answer(bench.read(get_as_of("k", far)))), Some(ErrorCode::BadRequest));
}

#[test]
fn the_past_is_read_by_the_time_that_was() {
    let mut bench = Bench::new();
    bench.run(KeySet { ttl_ms: Some(1_000), ..set("k", "v") });
    let alive = bench.machine.time();
    bench.pass(5_000);
    assert!(matches!(bench.answer(get_as_of("k", alive)), Outcome::Value(_)));
    let dead = Hlc::from_millis(START_MS + 1_000 + SKEW_MS + 1);
    assert_eq!(bench.answer(get_as_of("k", dead)), not_found(1));
}

#[test]
fn a_served_time_is_never_written_into() {
    let mut bench = Bench::new();
    bench.set("k", "v");
    let served = bench.machine.time();
    // The next leader's clock is far behind.
    bench.clock_ms = 1;
    bench.set("k", "w");
    assert!(matches!(bench.answer(get_as_of("k", served)), Outcome::Value(value) if value.value == b"v"));
}
