//! One flush carries what waited; callbacks come in order, and only when the disk has it.

mod common;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use bytes::Bytes;
use common::{beside, close, disk, entry, open, recover, temp_dir};
use kahuna_wal::{LogError, LogOptions, Record, block_on};

#[test]
fn queued_appends_of_many_groups_share_one_flush_and_are_told_in_order() {
    let dir = temp_dir();
    let ring = disk();
    let (log, _) = open(&ring, &ring, dir.path(), &LogOptions::default()).expect("the log opens");
    let before = log.stats().flushes;
    let told = Rc::new(RefCell::new(Vec::new()));
    for number in 0..200u32 {
        let told = told.clone();
        let record = entry(1 + u64::from(number / 40), vec![7; 256]);
        log.append(number % 40, [record], move |outcome| told.borrow_mut().push((number, outcome.is_ok())));
    }
    assert!(told.borrow().is_empty(), "nothing is durable before the writer ran");
    block_on(&ring, beside(&log, log.append_durable(0, []))).expect("the barrier passes");
    assert_eq!(*told.borrow(), (0..200).map(|number| (number, true)).collect::<Vec<_>>());
    assert_eq!(log.stats().flushes - before, 1);
}

#[test]
fn one_at_a_time_costs_one_flush_each() {
    let dir = temp_dir();
    let ring = disk();
    let (log, _) = open(&ring, &ring, dir.path(), &LogOptions::default()).expect("the log opens");
    let before = log.stats().flushes;
    block_on(
        &ring,
        beside(&log, async {
            for index in 1..=50 {
                log.append_durable(1, [entry(index, "x")]).await.expect("the append succeeds");
                log.append_lazily(1, [Record::Committed(Bytes::from_static(b"mark"))]);
                log.seal_if_idle();
            }
        }),
    );
    assert_eq!(log.stats().flushes - before, 50, "neither committed marks nor seals cost a flush under load");
}

#[test]
fn an_idle_log_flushes_lazy_records_and_seals_once() {
    let dir = temp_dir();
    let ring = disk();
    let options = LogOptions::default();
    let (log, _) = open(&ring, &ring, dir.path(), &options).expect("the log opens");
    block_on(
        &ring,
        beside(&log, async {
            log.append_durable(1, [entry(1, "x")]).await.expect("the append succeeds");
            log.append_lazily(1, [Record::Committed(Bytes::from_static(b"mark"))]);
            let written = log.stats().flushes;
            log.seal_if_idle();
            for _ in 0..10 {
                log.seal_if_idle();
                log.append_durable(1, []).await.expect("the barrier passes");
            }
            assert_eq!(log.stats().flushes - written, 2, "one for the mark, one for the seal");
            assert_eq!(log.stats().seals, 2, "the opening and the idle one");
        }),
    );
    drop(log);
    let recovered = recover(dir.path(), &options).expect("the log opens");
    assert_eq!(recovered.groups[&1].committed, Some(Bytes::from_static(b"mark")));
}

#[test]
fn an_append_longer_than_a_batch_is_told_with_its_last_batch() {
    let dir = temp_dir();
    let ring = disk();
    let options = LogOptions::small();
    let (log, _) = open(&ring, &ring, dir.path(), &options).expect("the log opens");
    let records: Vec<Record> = (1..=100).map(|index| entry(index, vec![1; 5000])).collect();
    block_on(&ring, beside(&log, log.append_durable(1, records))).expect("the append succeeds");
    drop(log);
    assert_eq!(recover(dir.path(), &options).expect("the log opens").groups[&1].entries.len(), 100);
}

#[test]
fn closing_writes_what_is_queued_seals_and_refuses_the_rest() {
    let dir = temp_dir();
    let ring = disk();
    let options = LogOptions::small();
    let (log, _) = open(&ring, &ring, dir.path(), &options).expect("the log opens");
    let told = Rc::new(Cell::new(false));
    let seen = told.clone();
    log.append(1, [entry(1, "queued")], move |outcome| seen.set(outcome.is_ok()));
    log.append_lazily(1, [Record::Vote(Bytes::from_static(b"lazy"))]);
    block_on(&ring, close(&log)).expect("the log closes");
    assert!(told.get());
    assert_eq!(log.stats().seals, 2, "the opening and the last");
    let refused = block_on(&ring, log.append_durable(1, [entry(2, "late")]));
    assert!(matches!(refused, Err(LogError::Closed)));
    let recovered = recover(dir.path(), &options).expect("the log opens");
    assert_eq!(recovered.groups[&1].entries.len(), 1);
    assert_eq!(recovered.groups[&1].vote, Some(Bytes::from_static(b"lazy")));
}

#[test]
fn a_record_too_large_is_refused_in_line_and_the_log_goes_on() {
    let dir = temp_dir();
    let ring = disk();
    let options = LogOptions::small();
    let (log, _) = open(&ring, &ring, dir.path(), &options).expect("the log opens");
    let told = Rc::new(RefCell::new(Vec::new()));
    for (number, payload_bytes) in [(0, 10), (1, 1 << 20), (2, 10)] {
        let told = told.clone();
        let index = 1 + number / 2;
        log.append(1, [entry(index, vec![0; payload_bytes])], move |outcome| told.borrow_mut().push((number, outcome)));
    }
    block_on(&ring, beside(&log, log.append_durable(1, []))).expect("the barrier passes");
    let told = told.borrow();
    assert!(matches!(&told[..], [(0, Ok(())), (1, Err(LogError::TooLarge { .. })), (2, Ok(()))]), "{told:?}");
}

#[test]
fn a_hole_is_a_bug_of_the_caller_and_never_reaches_the_log() {
    let dir = temp_dir();
    let ring = disk();
    let options = LogOptions::small();
    let (log, _) = open(&ring, &ring, dir.path(), &options).expect("the log opens");
    let purge = Record::Purge { upto: 5, log_id: Bytes::from_static(b"five") };
    log.append_lazily(1, [entry(1, "x")]);
    log.append_lazily(2, [purge]);
    for (group, index) in [(1, 3), (2, 4), (2, 7)] {
        let appended = catch_unwind(AssertUnwindSafe(|| log.append_lazily(group, [entry(index, "lost")])));
        assert!(appended.is_err(), "group {group} appends entry {index}");
    }
    log.append_lazily(2, [entry(6, "y")]);
    block_on(&ring, close(&log)).expect("the log closes");
    let groups = recover(dir.path(), &options).expect("the log opens").groups;
    let indices = |group| groups[&group].entries.iter().map(|entry| entry.index).collect::<Vec<_>>();
    assert_eq!((indices(1), indices(2)), (vec![1], vec![6]));
}
