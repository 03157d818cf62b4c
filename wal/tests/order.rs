//! One writer, one order: what a group asks for becomes durable in the order in which it asked, whoever else writes.

mod common;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use common::faulty::{EVERY_OP, Fault, FaultyDisk};
use common::memory::spin;
use common::told::Told;
use common::{IDENTITY, Rng, beside, disk, entry, temp_dir, yield_once};
use kahuna_wal::{Log, LogOpenError, LogOptions, Record, Recovered, block_on};

fn open(disk: &FaultyDisk) -> Result<(Log<FaultyDisk>, Recovered), LogOpenError> {
    spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, LogOptions::small()))
}

/// What a replica asks of the log in its life: a vote in each term, entries, another leader's entries over them, and what
/// is asked for without waiting: committed marks, truncations, purge marks.
fn asked() -> Vec<(Record, bool)> {
    let bytes = |text: String| Bytes::from(text);
    let mut asked = Vec::new();
    for term in 1..=6u64 {
        let first = (term - 1) * 10 + 1;
        asked.push((Record::Vote(bytes(format!("term {term}"))), true));
        asked.extend((first..first + 12).map(|index| (entry(index, vec![term as u8; 1500]), true)));
        asked.push((Record::Committed(bytes(format!("index {}", first + 8))), false));
        // The last two were never committed, and go.
        asked.push((Record::Truncate { from: first + 10 }, false));
        asked.push((Record::Vote(bytes(format!("term {term}, elected"))), true));
        asked.push((Record::Snapshot(bytes(format!("snapshot {}", first + 5))), true));
        asked.push((Record::Purge { upto: first + 5, log_id: bytes(format!("id {}", first + 5)) }, false));
    }
    asked
}

/// Two groups ask for the same in turn, without waiting for each other; returns whether the log failed.
async fn ask(log: &Log<FaultyDisk>, told: &Rc<Told>) -> bool {
    for (at, (record, waits)) in asked().into_iter().enumerate() {
        for group in [1, 2] {
            let upto = told.append(group, &record);
            if !waits {
                log.append_lazily(group, [record.clone()]);
                continue;
            }
            let told = told.clone();
            log.append(group, [record.clone()], move |outcome| {
                if outcome.is_ok() {
                    told.acknowledge(upto);
                }
            });
        }
        if at.is_multiple_of(5) {
            yield_once().await;
        }
    }
    log.append_durable(1, []).await.is_err()
}

#[test]
fn votes_entries_truncations_committed_and_purge_marks_are_durable_in_the_order_asked_for() {
    let mut rng = Rng::new(0x5eed_0200);
    let (mut cut, mut counts) = (0, std::collections::BTreeSet::new());
    for at in 0.. {
        let disk = FaultyDisk::new(at);
        disk.strike(at, EVERY_OP, Fault::PowerOff);
        let told = Rc::new(Told::default());
        if let Ok((log, _)) = open(&disk) {
            let failed = spin(beside(&log, ask(&log, &told)));
            assert_eq!(failed, disk.struck());
            cut += u64::from(failed);
        }
        // Killed, and with its power gone: each a prefix of what was asked, over both groups.
        for left in [disk.files(), disk.after_power_loss(&mut rng)] {
            let (_, recovered) = open(&FaultyDisk::holding(&left, 0)).expect("losses only");
            counts.insert(told.expect(&recovered.groups, &format!("power off at operation {at}")));
        }
        if !disk.struck() {
            assert_eq!(counts.last(), Some(&(2 * asked().len())), "all is there behind the last barrier");
            break;
        }
    }
    assert!(cut > 10 && counts.len() > 5, "cut at {cut} operations, with {counts:?} records there");
}

#[test]
fn appends_of_two_groups_share_one_flush() {
    let dir = temp_dir();
    let ring = disk();
    let (log, _) = common::open(&ring, &ring, dir.path(), &LogOptions::small()).expect("the log opens");
    let before = log.stats().flushes;
    block_on(
        &ring,
        beside(&log, async {
            let one = log.append_durable(1, [Record::Vote(Bytes::from_static(b"one")), entry(1, "a")]);
            let two = log.append_durable(2, [entry(1, "b"), Record::Vote(Bytes::from_static(b"two"))]);
            one.await.expect("the append succeeds");
            two.await.expect("the append succeeds");
        }),
    );
    assert_eq!(log.stats().flushes - before, 1);
}

#[test]
fn callbacks_come_in_the_order_of_the_appends_over_groups_and_batches() {
    let disk = FaultyDisk::new(1);
    let (log, _) = open(&disk).expect("a new log");
    let order = Rc::new(RefCell::new(Vec::new()));
    let mut rng = Rng::new(0x5eed_0201);
    let mut last = [0u64; 4];
    for number in 0..400 {
        let group = rng.below(4) as usize;
        last[group] += 1;
        let order = order.clone();
        let payload = vec![1; rng.below(9000) as usize];
        log.append(group as u32, [entry(last[group], payload)], move |outcome| {
            outcome.expect("the disk works");
            order.borrow_mut().push(number);
        });
    }
    spin(beside(&log, log.append_durable(9, []))).expect("the disk works");
    assert!(log.stats().flushes > 10, "{:?}", log.stats());
    assert_eq!(*order.borrow(), (0..400).collect::<Vec<_>>());
}
