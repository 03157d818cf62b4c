//! A process that may open no more files, or gets no memory for one: the log waits, as on a full disk, and goes on.

mod common;

use std::cell::Cell;
use std::path::Path;

use common::faulty::{Fault, FaultyDisk, Op};
use common::memory::spin;
use common::{IDENTITY, beside, entry, yield_once};
use kahuna_wal::{Log, LogOptions, Record, Space};

const ENTRIES: u64 = 200;
/// After so many idle turns whoever owns the log asks it to try again.
const TURNS: u64 = 20;

fn open(disk: &FaultyDisk) -> (Log<FaultyDisk>, kahuna_wal::Recovered) {
    spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, LogOptions::small())).expect("the log opens")
}

/// Appends entries of group 1 and purges behind, so that segments are made, freed and made again.
async fn run(log: &Log<FaultyDisk>, refused: &Cell<bool>) {
    let group = 2;
    // It never purges: the mover has work.
    log.append_durable(group, [entry(1, vec![1; 100])]).await.expect("the append succeeds");
    for index in 1..=ENTRIES {
        let appended = log.append_durable(1, [entry(index, vec![index as u8; 7000])]);
        let mut appended = std::pin::pin!(appended);
        let mut turns = 0;
        loop {
            let ended = std::future::poll_fn(|context| std::task::Poll::Ready(appended.as_mut().poll(context))).await;
            if let std::task::Poll::Ready(outcome) = ended {
                outcome.unwrap_or_else(|error| panic!("entry {index}: {error}"));
                break;
            }
            yield_once().await;
            turns += 1;
            if turns % TURNS == 0 {
                assert!(turns < 100 * TURNS, "entry {index} waits for ever, {:?}", log.space());
                refused.set(refused.get() || log.space() != Space::Plenty);
                log.retry_allocation();
            }
        }
        refused.set(refused.get() || log.space() != Space::Plenty);
        if index.is_multiple_of(30) {
            let purge = Record::Purge { upto: index - 20, log_id: "id".into() };
            log.append_durable(1, [purge]).await.expect("the purge succeeds");
            log.release();
        }
        if log.space() != Space::Plenty {
            log.retry_allocation();
        }
    }
}

#[test]
fn each_opening_of_a_long_run_may_be_refused() {
    for (op, codes) in [
        (&[Op::Open][..], &[libc::EMFILE, libc::ENFILE, libc::ENOMEM][..]),
        (&[Op::SyncDir][..], &[libc::EMFILE, libc::ENFILE][..]),
    ] {
        let mut noticed = 0;
        for number in 0.. {
            let code = codes[number as usize % codes.len()];
            let disk = FaultyDisk::new(number);
            let (log, _) = open(&disk);
            disk.strike(number, op, Fault::Refuse(code));
            let refused = Cell::new(false);
            spin(beside(&log, run(&log, &refused)));
            drop(log);
            if !disk.struck() {
                break;
            }
            noticed += u32::from(refused.get());
            let (_, recovered) = open(&disk);
            let last = recovered.groups[&1].entries.back().map(|entry| entry.index);
            assert_eq!(last, Some(ENTRIES), "{op:?} {number}, error {code}");
            assert_eq!(recovered.groups[&2].entries.len(), 1, "{op:?} {number}, error {code}");
        }
        assert!(noticed > 5, "{op:?}: {noticed}");
    }
}

#[test]
fn a_flush_of_the_names_that_lacked_memory_is_not_repeated() {
    let disk = FaultyDisk::new(1);
    let (log, _) = open(&disk);
    disk.strike(0, &[Op::Sync], Fault::Refuse(libc::ENOMEM));
    let failed = spin(log.run()).expect_err("a sync that failed poisons the log");
    assert!(matches!(failed, kahuna_wal::LogError::Failed { operation: "sync", .. }), "{failed}");
}
