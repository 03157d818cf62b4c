//! Two writes in flight: whatever order they end in, callbacks come in order, and a log whose newest writes are lost in
//! any combination comes back with all that was told, and with nothing behind the first loss.

mod common;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use common::held::{Fate, HeldDisk};
use common::memory::{MemoryDisk, spin};
use common::{IDENTITY, Rng, beside, entry, yield_once};
use kahuna_wal::{Disk, Log, LogError, LogOpenError, LogOptions, Recovered};

/// Enough to go out beside a write in flight.
const MUCH: usize = 9000;
const LITTLE: usize = 100;

type Told = Rc<RefCell<Vec<(u64, bool)>>>;

fn open(disk: &HeldDisk) -> (Log<HeldDisk>, Recovered) {
    spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, LogOptions::small())).expect("the log opens")
}

fn recover(memory: &MemoryDisk) -> Result<Recovered, LogOpenError> {
    spin(Log::open(memory.clone(), Path::new("/log"), IDENTITY, LogOptions::small())).map(|(_, recovered)| recovered)
}

fn append(log: &Log<HeldDisk>, index: u64, payload_bytes: usize, told: &Told) {
    let told = told.clone();
    let record = entry(index, vec![index as u8; payload_bytes]);
    log.append(1, [record], move |outcome| told.borrow_mut().push((index, outcome.is_ok())));
}

/// Lets the log do all that it can do now.
async fn settle() {
    for _ in 0..5 {
        yield_once().await;
    }
}

fn indices(recovered: &Recovered) -> Vec<u64> {
    let Some(group) = recovered.groups.get(&1) else { return Vec::new() };
    assert!(group.entries.iter().all(|entry| entry.payload.iter().all(|&byte| byte == entry.index as u8)));
    group.entries.iter().map(|entry| entry.index).collect()
}

#[test]
fn what_lands_first_is_told_in_its_turn() {
    let (memory, told) = (MemoryDisk::default(), Told::default());
    let disk = HeldDisk::new(&memory);
    let (log, _) = open(&disk);
    disk.hold();
    spin(beside(&log, async {
        append(&log, 1, LITTLE, &told);
        settle().await;
        assert_eq!(disk.waiting(), [0]);
        append(&log, 2, LITTLE, &told);
        settle().await;
        assert_eq!(disk.waiting(), [0], "little waits for the next flush");
        append(&log, 3, MUCH, &told);
        settle().await;
        assert_eq!(disk.waiting(), [0, 1], "much goes out beside the first");
        append(&log, 4, MUCH, &told);
        settle().await;
        assert_eq!(disk.waiting(), [0, 1], "two are in flight at most");
        disk.end(1, Fate::Lands);
        settle().await;
        assert_eq!((*told.borrow()).len(), 0, "the second is not durable before the first");
        disk.end(0, Fate::Lands);
        settle().await;
        assert_eq!(*told.borrow(), [(1, true), (2, true), (3, true)]);
        assert_eq!(disk.waiting(), [2]);
        disk.end(2, Fate::Lands);
        settle().await;
        assert_eq!(*told.borrow(), [(1, true), (2, true), (3, true), (4, true)]);
    }));
    assert_eq!(log.stats().flushes, 4, "the opening's and three");
    drop(log);
    assert_eq!(indices(&recover(&memory).expect("the log opens")), [1, 2, 3, 4]);
}

#[test]
fn a_first_write_that_fails_takes_the_second_with_it() {
    for second_ends_before in [true, false] {
        let (memory, told) = (MemoryDisk::default(), Told::default());
        let disk = HeldDisk::new(&memory);
        let (log, _) = open(&disk);
        disk.hold();
        spin(beside(&log, async {
            append(&log, 1, LITTLE, &told);
            settle().await;
            append(&log, 2, MUCH, &told);
            settle().await;
            append(&log, 3, LITTLE, &told);
            if second_ends_before {
                disk.end(1, Fate::Lands);
                settle().await;
            }
            disk.end(0, Fate::Fails);
            settle().await;
            assert_eq!(*told.borrow(), [(1, false), (2, false), (3, false)]);
            assert!(matches!(log.failure(), Some(LogError::Failed { operation: "write", .. })));
            append(&log, 4, LITTLE, &told);
            assert_eq!(told.borrow().last(), Some(&(4, false)), "a poisoned log takes nothing more");
        }));
        drop(log);
        assert_eq!(indices(&recover(&memory).expect("nothing durable was lost")), []);
    }
}

#[test]
fn a_second_write_that_fails_spares_the_first() {
    let (memory, told) = (MemoryDisk::default(), Told::default());
    let disk = HeldDisk::new(&memory);
    let (log, _) = open(&disk);
    disk.hold();
    spin(beside(&log, async {
        append(&log, 1, LITTLE, &told);
        settle().await;
        append(&log, 2, MUCH, &told);
        settle().await;
        disk.end(1, Fate::Fails);
        settle().await;
        disk.end(0, Fate::Lands);
        settle().await;
        assert_eq!(*told.borrow(), [(1, true), (2, false)]);
    }));
    drop(log);
    assert_eq!(indices(&recover(&memory).expect("the log opens")), [1]);
}

#[test]
fn a_second_write_whose_first_was_lost_never_comes_back() {
    // The second batch stands right behind the first block of the first, or further on, or in the next segment.
    for (first_bytes, next_entries) in [(LITTLE, 0), (LITTLE, 3), (MUCH, 3), (52_000, 3)] {
        let (memory, told) = (MemoryDisk::default(), Told::default());
        let disk = HeldDisk::new(&memory);
        let (log, _) = open(&disk);
        spin(beside(&log, log.append_durable(1, [entry(1, [1; 100])]))).expect("the append succeeds");
        drop(log);
        let (log, _) = open(&disk);
        disk.hold();
        spin(beside(&log, async {
            append(&log, 2, first_bytes, &told);
            settle().await;
            append(&log, 3, MUCH, &told);
            settle().await;
            assert_eq!(disk.waiting(), [0, 1]);
            disk.end(1, Fate::Lands);
            settle().await;
        }));
        drop(log);
        let after_death = HeldDisk::new(&memory);
        for life in 0..3 {
            let (log, recovered) = open(&after_death);
            let last = 1 + life * next_entries;
            assert_eq!(indices(&recovered), (1..=last).collect::<Vec<_>>(), "{first_bytes} bytes, life {life}");
            spin(beside(&log, async {
                for index in last + 1..=last + next_entries {
                    append(&log, index, LITTLE, &told);
                    log.append_durable(1, []).await.expect("the barrier passes");
                }
            }));
        }
    }
}

#[test]
fn segments_behind_a_cut_go_from_the_last_one_so_that_none_is_ever_missing_in_between() {
    let (memory, told) = (MemoryDisk::default(), Told::default());
    let disk = HeldDisk::new(&memory);
    let (log, _) = open(&disk);
    spin(beside(&log, async {
        log.append_durable(1, [entry(1, [1; 100])]).await.expect("the append succeeds");
        disk.hold();
        append(&log, 2, 48_000, &told);
        settle().await;
        append(&log, 3, MUCH, &told);
        settle().await;
        disk.end(1, Fate::Lands);
        settle().await;
    }));
    drop(log);
    let segments = || spin(memory.list(Path::new("/log"))).expect("it is there").into_iter().map(|file| file.name);
    assert_eq!(segments().filter(|name| name.ends_with(".seg")).count(), 3, "one cut, one behind it, one prepared");
    memory.take_history();
    assert_eq!(indices(&recover(&memory).expect("the log opens")), [1]);
    let killed = memory.take_history();
    assert!(killed.len() > 1);
    for files in killed {
        let after = recover(&MemoryDisk::holding(files)).expect("a killed opening leaves no gap");
        assert_eq!(indices(&after), [1]);
    }
}

#[test]
fn a_callback_that_appends_overtakes_nobody() {
    let (memory, told) = (MemoryDisk::default(), Told::default());
    let disk = HeldDisk::new(&memory);
    let (log, _) = open(&disk);
    let (again, later) = (log.clone(), told.clone());
    log.append(1, [entry(1, "x")], move |outcome| {
        later.borrow_mut().push((1, outcome.is_ok()));
        // Nothing waits for the disk: the barrier could be told at once, were it not for the next in line.
        again.append(1, [], move |outcome| later.borrow_mut().push((3, outcome.is_ok())));
    });
    append(&log, 2, LITTLE, &told);
    spin(beside(&log, settle()));
    assert_eq!(*told.borrow(), [(1, true), (2, true), (3, true)]);
    assert_eq!(log.stats().flushes, 2, "a barrier with nothing before it costs no flush");
}

#[test]
fn a_long_life_of_lost_and_torn_writes() {
    let seed = 0x5eed_0040;
    let mut rng = Rng::new(seed);
    let memory = MemoryDisk::default();
    let (acknowledged, mut last, mut overlapped, mut cut) = (Rc::new(Cell::new(0)), 0, 0, 0);
    for life in 0..300 {
        let disk = HeldDisk::new(&memory);
        let (log, recovered) = open(&disk);
        let found = indices(&recovered);
        let upto = found.last().copied().or(recovered.groups.get(&1).and_then(|group| group.last_index())).unwrap_or(0);
        assert!(upto >= acknowledged.get() && upto <= last, "life {life}: {upto} of {} to {last}", acknowledged.get());
        assert!(found.windows(2).all(|pair| pair[0] + 1 == pair[1]), "life {life}: {found:?}");
        cut += u64::from(upto < last);
        last = upto;
        disk.hold();
        spin(beside(&log, async {
            for _ in 0..rng.below(40) {
                if rng.below(3) > 0 {
                    last += 1;
                    let (index, acknowledged) = (last, acknowledged.clone());
                    let record = entry(index, vec![index as u8; rng.below(20_000) as usize]);
                    let purge = kahuna_wal::Record::Purge { upto: index.saturating_sub(20), log_id: "id".into() };
                    log.append(1, [record, purge], move |outcome| {
                        outcome.expect("no write fails");
                        assert_eq!(acknowledged.replace(index) + 1, index, "in order");
                    });
                }
                settle().await;
                let waiting = disk.waiting();
                overlapped += u64::from(waiting.len() > 1);
                if !waiting.is_empty() && rng.below(2) == 0 {
                    disk.end(waiting[rng.below(waiting.len() as u64) as usize], Fate::Lands);
                    settle().await;
                }
            }
            // The end of this life: each write in flight lands, is torn, or is lost.
            for number in disk.waiting() {
                match rng.below(3) {
                    0 => disk.end(number, Fate::Torn(usize::MAX)),
                    1 => disk.end(number, Fate::Torn(512 * rng.below(20) as usize)),
                    _ => {}
                }
            }
            settle().await;
        }));
        drop(log);
        let found = recover(&memory).expect("nothing claimed was lost");
        let upto = found.groups.get(&1).and_then(|group| group.last_index()).unwrap_or(0);
        assert!(upto >= acknowledged.get(), "seed {seed:#x}, life {life}");
        // What was found now is claimed by the opening, and may not be lost any more.
        acknowledged.set(upto);
    }
    assert!(overlapped > 500 && cut > 50, "too little happened: {overlapped} overlapped, {cut} cut");
}
