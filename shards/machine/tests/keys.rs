//! Every row of the keys table, and every condition.

mod common;

use common::*;
use kahuna_machine::Range;
use kahuna_protocol::batch::{BatchBuilder, COMMAND_RECLAIM};
use kahuna_protocol::key::{
    Compacted, Condition, Deleted, Exists, KeyAppend, KeyDelete, KeyExists, KeyExtend, KeyExtended, KeyPersist, KeySet,
    MAX_APPENDED_BYTES, NotSet, Set, Unmet, Value,
};
use kahuna_protocol::meta::Settings;
use kahuna_protocol::{ErrorCode, Hlc, Outcome, Request, RequestPrelude};

fn conditional(key: &str, condition: Condition) -> KeySet {
    KeySet { condition, ..set(key, "new") }
}

fn not_set(revision: u64, why: Unmet) -> Outcome {
    NotSet { revision, why }.into()
}

#[test]
fn revisions_count_sets_and_deletes_over_re_creation() {
    let mut bench = Bench::new();
    assert_eq!(bench.set("k", "a"), 1);
    assert_eq!(bench.set("k", "b"), 2);
    assert_eq!(bench.run(delete("k")), Deleted { revision: 3 }.into());
    assert_eq!(bench.run(delete("k")), not_found(3));
    assert_eq!(answer(bench.read(get("k"))), not_found(3));
    assert_eq!(bench.set("k", "c"), 4);
    assert_eq!(answer(bench.read(get("never"))), not_found(0));
    assert_eq!(bench.set("other", "x"), 1, "each key counts for itself");
}

#[test]
fn get_and_exists_tell_value_revision_time_and_deadline() {
    let mut bench = Bench::new();
    bench.run(KeySet { ttl_ms: Some(500), ..set("k", "v") });
    let (modified, deadline_ms) = (bench.machine.time().0, Some(START_MS + 500));
    let value = Value { value: b"v".to_vec(), revision: 1, modified, deadline_ms };
    assert_eq!(answer(bench.read(get("k"))), value.into());
    let exists = KeyExists { key: b"k".to_vec(), revision: None, as_of: None };
    assert_eq!(answer(bench.read(exists.clone())), Exists { revision: 1, modified, deadline_ms }.into());
    bench.run(delete("k"));
    assert_eq!(answer(bench.read(exists)), not_found(2));
}

#[test]
fn an_empty_value_is_not_an_absent_one() {
    let mut bench = Bench::new();
    bench.set("k", "");
    assert_eq!(bench.value("k").expect("there").value, b"");
    assert_eq!(
        bench.run(conditional("k", Condition { value: Some(Vec::new()), ..Condition::default() })),
        Set { revision: 2 }.into()
    );
    assert_eq!(
        bench.run(conditional("n", Condition { value: Some(Vec::new()), ..Condition::default() })),
        not_set(0, Unmet::Value)
    );
}

#[test]
fn each_condition_is_named_when_it_does_not_hold() {
    let mut bench = Bench::new();
    let absent = || Condition { absent: true, ..Condition::default() };
    let present = || Condition { present: true, ..Condition::default() };
    let value = |value: &str| Condition { value: Some(value.into()), ..Condition::default() };
    let revision = |revision| Condition { revision: Some(revision), ..Condition::default() };

    assert_eq!(bench.run(conditional("k", present())), not_set(0, Unmet::Absent));
    assert_eq!(bench.run(conditional("k", revision(1))), not_set(0, Unmet::Revision));
    assert_eq!(bench.run(conditional("k", absent())), Set { revision: 1 }.into());
    assert_eq!(bench.run(conditional("k", absent())), not_set(1, Unmet::Present));
    assert_eq!(bench.run(conditional("k", revision(0))), not_set(1, Unmet::Revision));
    assert_eq!(bench.run(conditional("k", value("other"))), not_set(1, Unmet::Value));
    assert_eq!(bench.run(conditional("k", value("new"))), Set { revision: 2 }.into());
    assert_eq!(bench.run(conditional("k", revision(1))), not_set(2, Unmet::Revision));
    assert_eq!(bench.run(conditional("k", revision(2))), Set { revision: 3 }.into());
    assert_eq!(bench.run(conditional("k", present())), Set { revision: 4 }.into());
    bench.run(delete("k"));
    assert_eq!(bench.run(conditional("k", revision(5))), not_set(5, Unmet::Revision), "a tombstone is no value");
    assert_eq!(bench.run(conditional("k", revision(0))), Set { revision: 6 }.into());
}

#[test]
fn conditions_are_combined() {
    let mut bench = Bench::new();
    bench.set("k", "new");
    let both = |value: &str, revision| Condition {
        value: Some(value.into()),
        revision: Some(revision),
        present: true,
        ..Condition::default()
    };
    assert_eq!(bench.run(conditional("k", both("new", 9))), not_set(1, Unmet::Revision));
    assert_eq!(bench.run(conditional("k", both("old", 1))), not_set(1, Unmet::Value));
    assert_eq!(bench.run(conditional("k", both("new", 1))), Set { revision: 2 }.into());
}

#[test]
fn a_delete_obeys_its_condition() {
    let mut bench = Bench::new();
    bench.set("k", "v");
    let when = |revision| KeyDelete {
        condition: Condition { revision: Some(revision), ..Condition::default() },
        ..delete("k")
    };
    assert_eq!(bench.run(when(7)), not_set(1, Unmet::Revision));
    assert_eq!(bench.run(when(1)), Deleted { revision: 2 }.into());
    assert_eq!(bench.run(when(2)), not_found(2));
}

#[test]
fn a_guarded_write_needs_the_live_grant() {
    let mut bench = Bench::new();
    let guarded = |token| conditional("k", if_lock("k", token));
    assert_eq!(bench.run(guarded(1)), not_set(0, Unmet::Lock));
    let token = bench.acquire("k", "a", 1_000);
    assert_eq!(bench.run(guarded(token + 1)), not_set(0, Unmet::Lock));
    assert_eq!(bench.run(guarded(token)), Set { revision: 1 }.into());
    bench.clock_ms += 1_000 + SKEW_MS + 1;
    assert_eq!(bench.run(guarded(token)), not_set(1, Unmet::Lock), "the lease ended");
    let token = bench.acquire("k", "b", 1_000);
    assert_eq!(bench.run(guarded(1)), not_set(1, Unmet::Lock), "the old holder is fenced off");
    assert_eq!(bench.run(guarded(token)), Set { revision: 2 }.into());
    bench.release("k", "b");
    let stale = KeyDelete { condition: if_lock("k", token), ..delete("k") };
    assert_eq!(bench.run(stale), not_set(2, Unmet::Lock));
}

#[test]
fn an_append_makes_a_revision_keeps_the_deadline_and_is_bounded() {
    let mut bench = Bench::new();
    let append = |suffix: &[u8], condition| KeyAppend {
        key: b"k".to_vec(),
        suffix: suffix.to_vec(),
        condition,
        no_history: false,
    };
    let any = Condition::default;
    assert_eq!(bench.run(append(b"x", Condition { present: true, ..any() })), not_set(0, Unmet::Absent));
    assert_eq!(bench.run(append(b"one", any())), Set { revision: 1 }.into(), "a key that is not there begins empty");
    bench.run(KeyExtend { key: b"k".to_vec(), ttl_ms: 1_000 });
    assert_eq!(bench.run(append(b", two", Condition { revision: Some(1), ..any() })), Set { revision: 2 }.into());
    let value = bench.value("k").expect("alive");
    assert_eq!((value.value, value.deadline_ms), (b"one, two".to_vec(), Some(START_MS + 1_000)));
    let most = MAX_APPENDED_BYTES - b"one, two".len();
    let Outcome::Error(refused) = bench.run(append(&vec![b'x'; most + 1], any())) else { panic!("it is too large") };
    assert_eq!((refused.code(), bench.value("k").expect("alive").revision), (ErrorCode::TooLarge, 2));
    assert_eq!(bench.run(append(&vec![b'x'; most], any())), Set { revision: 3 }.into());
    bench.pass(2_000);
    assert_eq!(bench.run(append(b"new", any())), Set { revision: 4 }.into());
    assert_eq!(bench.value("k").expect("alive").value, b"new", "what has ended is not continued");
}

#[test]
fn extend_and_persist_keep_the_revision() {
    let mut bench = Bench::new();
    bench.run(KeySet { ttl_ms: Some(1_000), ..set("k", "v") });
    let extend = |key: &str, ttl_ms| KeyExtend { key: key.into(), ttl_ms };
    let persist = |key: &str| KeyPersist { key: key.into() };
    let deadline_ms = Some(START_MS + 5_000);
    assert_eq!(bench.run(extend("k", 5_000)), KeyExtended { revision: 1, deadline_ms }.into());
    bench.clock_ms += 4_000;
    assert_eq!(bench.value("k").expect("extended").deadline_ms, deadline_ms);
    assert_eq!(bench.run(persist("k")), KeyExtended { revision: 1, deadline_ms: None }.into());
    bench.pass(100_000);
    assert_eq!(bench.value("k").expect("persisted").revision, 1);
    assert_eq!(bench.run(extend("none", 1)), not_found(0));
    assert_eq!(bench.run(persist("none")), not_found(0));
}

#[test]
fn a_set_without_ttl_clears_an_earlier_one() {
    let mut bench = Bench::new();
    bench.run(KeySet { ttl_ms: Some(1_000), ..set("k", "v") });
    bench.set("k", "w");
    bench.pass(100_000);
    assert_eq!(bench.value("k").expect("no ttl").value, b"w");
}

#[test]
fn an_expired_key_is_gone_under_its_own_revision() {
    let mut bench = Bench::new();
    bench.run(KeySet { ttl_ms: Some(1_000), ..set("k", "v") });
    bench.pass(1_000 + SKEW_MS);
    assert!(bench.value("k").is_some(), "the skew is not over");
    bench.pass(1);
    assert_eq!(bench.answer(get("k")), not_found(1));
    assert_eq!(bench.answer(get_revision("k", 1)), not_found(1), "not by its revision either");
    assert_eq!(bench.run(delete("k")), not_found(1));
    assert_eq!(bench.run(KeyExtend { key: b"k".to_vec(), ttl_ms: 9 }), not_found(1), "none comes back");
    assert_eq!(
        bench.run(conditional("k", Condition { present: true, ..Condition::default() })),
        not_set(1, Unmet::Absent)
    );
    assert_eq!(
        bench.run(conditional("k", Condition { revision: Some(0), ..Condition::default() })),
        Set { revision: 2 }.into()
    );
}

#[test]
fn older_revisions_are_read_until_they_are_collected() {
    let mut bench = Bench::with(Settings { history_revisions: 4, ..settings() }, Range::all(1));
    let mut stamps = vec![Hlc::ZERO];
    for n in 1..=6 {
        bench.clock_ms += 10;
        bench.set("k", &format!("v{n}"));
        stamps.push(bench.machine.time());
    }
    for n in 3..=6u64 {
        for request in [get_revision("k", n), get_as_of("k", stamps[n as usize])] {
            let Outcome::Value(value) = bench.answer(request) else { panic!("revision {n} is kept") };
            assert_eq!((value.value, value.revision), (format!("v{n}").into_bytes(), n));
        }
    }
    let gone = Outcome::from(Compacted { oldest: 3 });
    assert_eq!(bench.answer(get_revision("k", 2)), gone);
    assert_eq!(bench.answer(get_as_of("k", stamps[2])), gone);
    assert_eq!(bench.answer(get_revision("k", 7)), not_found(6));
}

#[test]
fn a_deletion_is_seen_at_its_revision_and_its_time() {
    let mut bench = Bench::new();
    let before = bench.machine.time();
    bench.clock_ms += 1;
    bench.set("k", "v");
    let set_at = bench.machine.time();
    bench.clock_ms += 1;
    bench.run(delete("k"));
    let deleted_at = bench.machine.time();
    bench.set("k", "w");
    assert_eq!(bench.answer(get_as_of("k", before)), not_found(0));
    assert!(matches!(bench.answer(get_as_of("k", set_at)), Outcome::Value(value) if value.value == b"v"));
    assert_eq!(bench.answer(get_as_of("k", deleted_at)), not_found(2));
    assert_eq!(bench.answer(get_revision("k", 2)), not_found(2));
}

#[test]
fn no_history_drops_what_it_replaces() {
    let mut bench = Bench::new();
    bench.set("k", "a");
    bench.set("k", "b");
    let b_at = bench.machine.time();
    bench.run(KeySet { no_history: true, ..set("k", "c") });
    assert!(matches!(bench.answer(get_revision("k", 1)), Outcome::Value(_)));
    assert_eq!(bench.answer(get_revision("k", 2)), Compacted { oldest: 3 }.into());
    assert_eq!(bench.answer(get_as_of("k", b_at)), Compacted { oldest: 3 }.into(), "never revision 1 in its place");
}

#[test]
fn a_reclaiming_delete_drops_the_history_at_once() {
    let mut bench = Bench::new();
    bench.set("k", "a");
    bench.set("k", "b");
    let mut builder = BatchBuilder::new();
    let request = Request::from(delete("k"));
    let mut body = Vec::new();
    request.encode_body(&mut body);
    builder.push(request.kind(), COMMAND_RECLAIM, &RequestPrelude::default(), &body);
    let applied = bench.machine.apply(&builder.finish(Hlc::from_millis(bench.clock_ms))).expect("readable");
    assert_eq!(applied.outcomes, [Deleted { revision: 3 }.into()]);
    assert_eq!(bench.answer(get_revision("k", 1)), Compacted { oldest: 3 }.into());
}

#[test]
fn retention_keeps_more_than_the_count() {
    let settings = Settings { history_revisions: 2, history_retention_ms: 1_000, ..settings() };
    let mut bench = Bench::with(settings, Range::all(1));
    for n in 1..=5 {
        bench.clock_ms += 100;
        bench.set("k", &n.to_string());
    }
    assert!(matches!(bench.answer(get_revision("k", 1)), Outcome::Value(_)));
    bench.clock_ms += 10_000;
    bench.set("k", "6");
    assert_eq!(bench.answer(get_revision("k", 4)), Compacted { oldest: 5 }.into());
}
