//! What a log's handle says and does beside appending.

mod common;

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use common::memory::{MemoryDisk, spin};
use common::{IDENTITY, beside, entry, yield_once};
use kahuna_wal::{Log, LogOptions, Record};

fn open(disk: &MemoryDisk, options: LogOptions) -> Log<MemoryDisk> {
    spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, options)).expect("the log opens").0
}

fn purge(upto: u64) -> Record {
    Record::Purge { upto, log_id: Bytes::from_static(b"id") }
}

#[test]
fn what_is_queued_and_what_was_appended_is_counted() {
    let log = open(&MemoryDisk::default(), LogOptions::small());
    let stats = log.stats();
    assert_eq!((stats.tail_segment, stats.segments, stats.records, stats.queued_bytes), (1, 1, 0, 0));
    let record = entry(1, "an entry");
    log.append_lazily(1, [record.clone(), Record::Vote(Bytes::from_static(b"v"))]);
    let bytes = (64 + record.encoded_bytes() + 21) as u64;
    assert_eq!((log.stats().records, log.stats().queued_bytes, log.stats().live_bytes), (2, bytes, bytes - 64));
    spin(beside(&log, log.append_durable(1, []))).expect("the barrier passes");
    assert_eq!((log.stats().records, log.stats().queued_bytes, log.stats().segments), (2, 0, 1));
}

#[test]
fn a_barrier_with_nothing_before_it_is_told_at_once() {
    let log = open(&MemoryDisk::default(), LogOptions::small());
    let told = Rc::new(Cell::new(false));
    let tell = told.clone();
    log.append(1, [], move |outcome| tell.set(outcome.is_ok()));
    assert!(told.get(), "nobody has to run for it");
}

#[test]
fn a_busy_log_is_not_sealed() {
    let log = open(&MemoryDisk::default(), LogOptions::small());
    spin(beside(&log, async {
        for index in 1..=5 {
            log.append_durable(1, [entry(index, "busy")]).await.expect("the append succeeds");
            log.seal_if_idle();
            yield_once().await;
            assert_eq!(log.stats().seals, 1, "only the opening's, after {index}");
        }
        log.seal_if_idle();
        yield_once().await;
        assert_eq!(log.stats().seals, 2, "nothing was appended since it was asked last");
    }));
}

/// With marks in segment 1 and entries above it that are purged, so that a release would repeat the marks.
async fn fill(log: &Log<MemoryDisk>) {
    log.append_durable(1, [Record::Vote(Bytes::from_static(b"v"))]).await.expect("the append succeeds");
    let mut index = 0;
    while log.stats().tail_segment < 4 {
        index += 1;
        log.append_durable(1, [entry(index, [7; 7000])]).await.expect("the append succeeds");
    }
    log.append_durable(1, [purge(index)]).await.expect("the purge succeeds");
}

#[test]
fn a_log_that_takes_nothing_more_lets_nothing_go() {
    for fails in [false, true] {
        let disk = MemoryDisk::default();
        let log = open(&disk, LogOptions { max_live_multiple: u64::MAX, ..LogOptions::small() });
        let mut before = log.stats();
        spin(beside(&log, async {
            fill(&log).await;
            before = log.stats();
            if fails {
                disk.fail_writes(std::io::ErrorKind::Other);
                log.append_durable(2, [entry(1, "lost")]).await.expect_err("the write fails");
            } else {
                log.close();
            }
        }));
        let records = log.stats().records;
        assert_eq!(log.release(), 1, "fails: {fails}");
        let stats = log.stats();
        assert_eq!(
            (stats.records, stats.repeated, stats.queued_bytes),
            (records, before.repeated, 0),
            "fails: {fails}"
        );
    }
    let log = open(&MemoryDisk::default(), LogOptions { max_live_multiple: u64::MAX, ..LogOptions::small() });
    spin(beside(&log, async {
        fill(&log).await;
        assert_eq!((log.release(), log.stats().repeated), (4, 1), "an open one does, and repeats the vote");
    }));
}
