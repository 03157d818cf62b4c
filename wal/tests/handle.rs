//! What a log's handle says and does beside appending.

mod common;

use std::cell::Cell;
use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

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

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Polls for as long as somebody asks for it.
fn settle(wakes: &Arc<Wakes>, mut run: Pin<&mut impl Future>) {
    let waker = Waker::from(wakes.clone());
    loop {
        let before = wakes.count();
        let polled = run.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() || wakes.count() == before {
            return;
        }
    }
}

/// Whoever runs the log polls it only when it asks for that, or the disk does.
#[test]
fn whatever_gives_the_log_something_to_do_wakes_it() {
    let disk = MemoryDisk::default();
    let log = open(&disk, LogOptions { max_live_multiple: u64::MAX, ..LogOptions::small() });
    let wakes = Arc::new(Wakes::default());
    let mut run = pin!(log.run());
    settle(&wakes, run.as_mut());
    let told = Rc::new(Cell::new(0));
    let append = |record| {
        let told = told.clone();
        log.append(1, [record], move |outcome| told.set(told.get() + u32::from(outcome.is_ok())));
    };
    let asks: [(&str, &dyn Fn()); 5] = [
        ("an append", &|| append(entry(1, [1; 7000]))),
        ("an append that fills a segment", &|| (2..20).for_each(|index| append(entry(index, [1; 7000])))),
        ("a release", &|| {
            log.append_lazily(1, [purge(19)]);
            log.release();
        }),
        ("being asked whether it is idle", &|| {
            log.seal_if_idle();
            log.seal_if_idle();
        }),
        ("closing it", &|| log.close()),
    ];
    for (what, ask) in asks {
        let before = wakes.count();
        ask();
        assert!(wakes.count() > before, "{what}");
        settle(&wakes, run.as_mut());
    }
    assert_eq!((told.get(), log.stats().queued_bytes), (19, 0), "all was done");
    assert!(log.stats().tail_segment > 2 && log.stats().released > 0, "{:?}", log.stats());
}

#[test]
fn room_on_a_full_disk_wakes_the_log() {
    let disk = MemoryDisk::default();
    let log = open(&disk, LogOptions { reserve_segments: 0, spare_segments: 0, ..LogOptions::small() });
    let wakes = Arc::new(Wakes::default());
    let mut run = pin!(log.run());
    settle(&wakes, run.as_mut());
    disk.set_capacity(disk.used());
    let told = Rc::new(Cell::new(0));
    for index in 1..=30 {
        let told = told.clone();
        log.append(1, [entry(index, [1; 7000])], move |outcome| told.set(told.get() + u32::from(outcome.is_ok())));
        settle(&wakes, run.as_mut());
    }
    assert!(told.get() < 30, "the log waits for room");
    disk.set_capacity(64 << 20);
    let before = wakes.count();
    log.retry_allocation();
    assert!(wakes.count() > before);
    settle(&wakes, run.as_mut());
    assert_eq!(told.get(), 30);
}
