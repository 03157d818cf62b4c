//! A disk without room: the log lives on its reserve, then waits, and goes on when there is room again.

mod common;

use std::io::ErrorKind;
use std::path::Path;
use std::pin::pin;

use bytes::Bytes;
use common::memory::{MemoryDisk, spin};
use common::{IDENTITY, alongside, beside, entry, yield_once};
use kahuna_wal::{Log, LogError, LogOpenError, LogOptions, Record, Recovered, Space};

const SEGMENT: u64 = 64 << 10;

fn open(disk: &MemoryDisk) -> Result<(Log<MemoryDisk>, Recovered), LogOpenError> {
    spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, LogOptions::small()))
}

fn purge(upto: u64) -> Record {
    Record::Purge { upto, log_id: Bytes::from_static(b"id") }
}

/// Appends entries `from..=upto` of group 1, one after the other, purging behind when `purging`.
async fn append(log: &Log<MemoryDisk>, from: u64, upto: u64, purging: bool) {
    for index in from..=upto {
        log.append_durable(1, [entry(index, vec![index as u8; 7000])]).await.expect("the append succeeds");
        if purging && index.is_multiple_of(30) {
            log.append_durable(1, [purge(index - 20)]).await.expect("the purge succeeds");
            log.release();
        }
    }
}

fn holds(recovered: &Recovered, indices: std::ops::RangeInclusive<u64>) {
    let group = &recovered.groups[&1];
    let found: Vec<u64> = group.entries.iter().map(|entry| entry.index).collect();
    assert_eq!(found, indices.collect::<Vec<_>>());
    assert!(group.entries.iter().all(|entry| entry.payload == vec![entry.index as u8; 7000]));
}

/// Appends until the log waits for room; returns the last acknowledged index, and how the one that waits will end.
async fn fill(log: &Log<MemoryDisk>) -> (u64, kahuna_wal::Appended) {
    let mut index = 1;
    loop {
        let appended = log.append_durable(1, [entry(index, vec![index as u8; 7000])]);
        for _ in 0..3 {
            yield_once().await;
        }
        if log.space() == Space::Exhausted {
            return (index - 1, appended);
        }
        appended.await.expect("the append succeeds");
        index += 1;
    }
}

#[test]
fn any_allocation_of_a_long_run_may_be_refused() {
    let mut refused = 0;
    for number in 0.. {
        let disk = MemoryDisk::default();
        let kind = if number % 2 == 0 { ErrorKind::StorageFull } else { ErrorKind::QuotaExceeded };
        disk.refuse_allocation(number, kind);
        let (log, _) = match open(&disk) {
            Err(LogOpenError::Io { source, .. }) if number == 0 => {
                assert_eq!(source.kind(), ErrorKind::StorageFull);
                open(&disk).expect("there is room now")
            }
            opened => opened.expect("the log opens"),
        };
        spin(beside(&log, async {
            for index in 1..=122 {
                append(&log, index, index, false).await;
                if log.space() == Space::Reserve {
                    refused += 1;
                    assert!(disk.names().iter().all(|name| !name.ends_with(".tmp")), "{:?}", disk.names());
                    log.retry_allocation();
                }
            }
            yield_once().await;
        }));
        assert_eq!((log.space(), log.stats().reserve), (Space::Plenty, 2));
        assert_eq!(log.stats().allocated_bytes, disk.used());
        let tried = disk.allocations();
        drop(log);
        holds(&open(&disk).expect("the log opens").1, 1..=122);
        if tried <= number {
            break;
        }
    }
    assert!(refused > 10, "{refused} allocations were refused");
}

#[test]
fn a_full_log_waits_loses_nothing_and_goes_on_when_there_is_room() {
    let disk = MemoryDisk::with_capacity(9 * SEGMENT);
    let (log, _) = open(&disk).expect("the log opens");
    let last = spin(beside(&log, async {
        let (last, waiting) = fill(&log).await;
        assert_eq!((log.space(), log.stats().reserve), (Space::Exhausted, 0));
        // It asks again in vain, answers what it is asked, and fails nobody.
        for _ in 0..10 {
            log.retry_allocation();
            yield_once().await;
        }
        assert_eq!(log.space(), Space::Exhausted);
        assert!(log.failure().is_none());
        assert_eq!(log.pinned(), [(1, 1)]);
        disk.set_capacity(20 * SEGMENT);
        log.retry_allocation();
        waiting.await.expect("there is room");
        while log.space() != Space::Plenty {
            yield_once().await;
        }
        append(&log, last + 2, last + 20, false).await;
        last
    }));
    assert!(last > 60, "every segment was filled: {last}");
    assert_eq!(log.stats().allocated_bytes, disk.used());
    drop(log);
    holds(&open(&disk).expect("the log opens").1, 1..=last + 20);
}

#[test]
fn purged_segments_refill_the_reserve_of_a_full_disk() {
    let disk = MemoryDisk::with_capacity(10 * SEGMENT);
    let (log, _) = open(&disk).expect("the log opens");
    let mut seen = Vec::new();
    spin(beside(&log, async {
        for from in (1..600).step_by(30) {
            append(&log, from, from + 29, true).await;
            seen.push(log.space());
        }
        log.append_durable(1, [purge(600)]).await.expect("the purge succeeds");
        log.release();
        while log.space() != Space::Plenty {
            yield_once().await;
        }
    }));
    assert!(seen.contains(&Space::Reserve) && !seen.contains(&Space::Exhausted), "{seen:?}");
    assert_eq!(disk.used(), log.stats().allocated_bytes);
    drop(log);
    assert_eq!(open(&disk).expect("the log opens").1.groups[&1].last_index(), Some(600));
}

#[test]
fn a_log_opens_on_a_full_disk_from_its_reserve() {
    let disk = MemoryDisk::default();
    let (log, _) = open(&disk).expect("the log opens");
    spin(beside(&log, append(&log, 1, 40, false)));
    assert_eq!(log.stats().reserve, 2);
    drop(log);
    disk.set_capacity(disk.used());
    // Each life writes little; the reserve carries many openings.
    for last in 40..45 {
        let (log, recovered) = open(&disk).expect("the log opens");
        holds(&recovered, 1..=last);
        spin(beside(&log, append(&log, last + 1, last + 1, false)));
    }
}

#[test]
fn without_room_and_reserve_an_opening_and_a_closing_say_so() {
    let disk = MemoryDisk::with_capacity(5 * SEGMENT);
    let (log, _) = open(&disk).expect("the log opens");
    let (last, waiting, closed) = spin(async {
        let mut run = pin!(log.run());
        let (last, waiting) = alongside(run.as_mut(), fill(&log)).await;
        log.close();
        (last, waiting, run.await)
    });
    assert!(matches!(closed, Err(LogError::Closed)), "{closed:?}");
    assert!(matches!(spin(waiting), Err(LogError::Closed)), "what waited is told");
    drop(log);
    // Each opening writes one block; then the last segment is full.
    let refused = (0..16).find_map(|_| open(&disk).err()).expect("no room for one batch");
    assert!(
        matches!(&refused, LogOpenError::Io { source, .. } if source.kind() == ErrorKind::StorageFull),
        "{refused}"
    );
    disk.set_capacity(8 * SEGMENT);
    holds(&open(&disk).expect("the log opens").1, 1..=last);
}

#[test]
fn no_room_for_a_write_into_an_allocated_file_is_a_failure() {
    let disk = MemoryDisk::default();
    let (log, _) = open(&disk).expect("the log opens");
    let failed = spin(beside(&log, async {
        append(&log, 1, 3, false).await;
        disk.fail_writes(ErrorKind::StorageFull);
        log.append_durable(1, [entry(4, "lost")]).await
    }));
    assert!(matches!(failed, Err(LogError::Failed { operation: "write", .. })), "{failed:?}");
    assert!(log.failure().is_some());
}
