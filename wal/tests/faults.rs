//! Every fault of a disk that loses, tears, misplaces, forgets and fails. After recovery either exactly what was
//! acknowledged is there, with at most what was under way behind it in order, or a refusal names file and offset.

mod common;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use common::faulty::{EVERY_OP, Fault, FaultyDisk, Files, Op, SECTOR};
use common::memory::spin;
use common::told::{Groups, Told};
use common::{IDENTITY, Rng, beside, entry};
use kahuna_wal::{BLOCK_BYTES, Log, LogError, LogOpenError, LogOptions, Record, Recovered};

const GROUPS: u32 = 3;

/// Segments of 16 blocks: a short run fills several.
fn options() -> LogOptions {
    LogOptions { spare_segments: 0, reserve_segments: 1, ..LogOptions::small() }
}

fn open(disk: &FaultyDisk) -> Result<(Log<FaultyDisk>, Recovered), LogOpenError> {
    spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, options()))
}

/// What a healthy disk that holds these files gives.
fn recover(files: &Files) -> Result<Groups, LogOpenError> {
    open(&FaultyDisk::holding(files, 0)).map(|(_, recovered)| recovered.groups)
}

/// The segment files, in order.
fn segments(files: &Files) -> Vec<PathBuf> {
    files.keys().filter(|path| path.extension().is_some_and(|it| it == "seg")).cloned().collect()
}

fn name(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).expect("a plain name").to_owned()
}

/// Appends `count` records of several groups, now and then waiting for one and sealing. Ends early when one fails.
async fn churn(log: &Log<FaultyDisk>, told: &Rc<Told>, rng: &mut Rng, count: usize) {
    let failed = Rc::new(Cell::new(0));
    let mut appended = 0;
    while appended < count && failed.get() == 0 {
        for _ in 0..1 + rng.below(4) {
            let group = 1 + rng.below(u64::from(GROUPS)) as u32;
            let (record, upto) = told.draw(rng, group);
            appended += 1;
            let (told, failed) = (told.clone(), failed.clone());
            log.append(group, [record], move |outcome| match outcome {
                Ok(()) => {
                    assert_eq!(failed.get(), 0, "nothing is acknowledged after a failure");
                    told.acknowledge(upto);
                }
                Err(error) => {
                    assert!(matches!(error, LogError::Failed { .. }), "{error}");
                    failed.set(failed.get() + 1);
                }
            });
        }
        if rng.below(4) == 0 {
            log.seal_if_idle();
        }
        if log.append_durable(0, []).await.is_err() {
            break;
        }
    }
    if failed.get() > 0 {
        assert!(log.failure().is_some());
        let late = log.append_durable(1, [Record::Vote("late".into())]).await;
        assert!(matches!(late, Err(LogError::Failed { .. })), "{late:?}");
    }
}

/// A header that claims everything before it.
async fn seal(log: &Log<FaultyDisk>) {
    log.seal_if_idle();
    log.seal_if_idle();
    let _ = log.append_durable(0, []).await;
}

/// One life: what was told. `sealed`: ends in good order.
fn live(told: &Rc<Told>, log: &Log<FaultyDisk>, seed: u64, count: usize, sealed: bool) {
    let mut rng = Rng::quiet(seed);
    spin(beside(log, async {
        churn(log, told, &mut rng, count).await;
        if sealed {
            seal(log).await;
        }
    }));
}

/// A log of several segments, sealed at its end or not, and what it holds.
fn written(seed: u64, count: usize, sealed: bool) -> (Files, Groups) {
    let disk = FaultyDisk::new(seed);
    let (log, recovered) = open(&disk).expect("a new log");
    let told = Rc::new(Told::after(&recovered));
    live(&told, &log, seed, count, sealed);
    drop(log);
    let files = disk.files();
    let groups = recover(&files).expect("nothing happened to it");
    assert_eq!(told.expect(&groups, "whole"), told.acknowledged());
    (files, groups)
}

#[test]
fn power_may_go_at_each_operation() {
    for seed in 0..3u64 {
        let mut rng = Rng::quiet(seed);
        for at in 0.. {
            let disk = FaultyDisk::new(seed);
            disk.strike(at, EVERY_OP, Fault::PowerOff);
            let mut told = Rc::new(Told::default());
            if let Ok((log, recovered)) = open(&disk) {
                told = Rc::new(Told::after(&recovered));
                live(&told, &log, seed, 120, true);
            }
            let context = format!("seed {seed}, power off at operation {at}");
            let left = disk.after_power_loss(&mut rng);
            let found = recover(&left).unwrap_or_else(|error| panic!("{context}: {error}"));
            told.expect(&found, &context);
            if !disk.struck() {
                assert!(at > 60, "the run is long: {at} operations");
                break;
            }
        }
    }
}

#[test]
fn each_operation_may_fail_once() {
    // A write, a sync or another operation fails, later ones would succeed. Nothing later is acknowledged, and what was
    // acknowledged before survives a power loss.
    for ops in
        [&[Op::Write][..], &[Op::Sync], &[Op::Rename], &[Op::SyncDir], &[Op::Allocate], &[Op::Open], &[Op::Remove]]
    {
        let ops: &'static [Op] = Vec::leak(ops.to_vec());
        let mut poisoned = 0;
        for at in 0.. {
            let seed = 11;
            let mut rng = Rng::quiet(at);
            let disk = FaultyDisk::new(seed);
            disk.strike(at, ops, Fault::Fail);
            let mut told = Rc::new(Told::default());
            let context = format!("{ops:?} {at} failed");
            if let Ok((log, recovered)) = open(&disk) {
                told = Rc::new(Told::after(&recovered));
                live(&told, &log, seed, 400, true);
                assert_eq!(log.failure().is_some(), disk.struck(), "{context}: an error poisons");
                poisoned += u64::from(disk.struck());
            }
            // Killed, then without power.
            for left in [disk.files(), disk.after_power_loss(&mut rng)] {
                let found = recover(&left).unwrap_or_else(|error| panic!("{context}: {error}"));
                told.expect(&found, &context);
            }
            if !disk.struck() {
                break;
            }
        }
        assert!(poisoned > 0, "{ops:?} happen in a run");
    }
}

#[test]
fn a_read_that_fails_or_ends_early_is_refused_and_changes_nothing() {
    let (files, groups) = written(5, 200, true);
    let reads = segments(&files).len() as u64;
    for fault in [Fault::Fail, Fault::ShortRead] {
        let mut refused = 0;
        for at in 0.. {
            let disk = FaultyDisk::holding(&files, 1);
            disk.strike(at, &[Op::Read], fault.clone());
            let outcome = open(&disk).map(|(_, recovered)| recovered.groups);
            match &outcome {
                Ok(found) => assert_eq!(found, &groups),
                Err(LogOpenError::Io { operation: "read", path, .. }) => assert!(files.contains_key(path)),
                Err(LogOpenError::Corrupt { file, offset, .. }) => {
                    assert!(files.contains_key(file) && *offset > 0, "{outcome:?}");
                }
                Err(error) => panic!("read {at}: {error}"),
            }
            if outcome.is_err() {
                refused += 1;
                assert!(disk.files() == files, "a refusal changes nothing");
            }
            if !disk.struck() {
                break;
            }
        }
        assert!(refused >= reads.min(3), "{refused} of {reads}");
    }
    for op in [Op::Open, Op::List] {
        let disk = FaultyDisk::holding(&files, 1);
        disk.strike(0, Vec::leak(vec![op]), Fault::Fail);
        assert!(matches!(open(&disk), Err(LogOpenError::Io { .. })));
    }
}

/// A log before and after its newest batch of several blocks.
struct Torn {
    before: Files,
    after: Files,
    /// The file that the batch went to; it held other batches in an earlier use.
    path: PathBuf,
}

impl Torn {
    /// `None` when a segment ends within the newest batch, behind `count` others.
    fn after(count: u64) -> Option<Self> {
        let disk = FaultyDisk::new(9);
        let (log, _) = open(&disk).expect("a new log");
        let mut images = Vec::new();
        spin(beside(&log, async {
            let purge = |upto| Record::Purge { upto, log_id: "id".into() };
            for index in 1..=count {
                log.append_durable(1, [entry(index, vec![index as u8; 9000]), purge(index - 1)])
                    .await
                    .expect("appended");
            }
            images.push(disk.files());
            let entries = [1, 2, 3, 4].map(|more| entry(count + more, vec![(count + more) as u8; 4000]));
            log.append_durable(1, entries).await.expect("appended");
            images.push(disk.files());
        }));
        assert!(log.stats().released > 5, "files are used again: {:?}", log.stats());
        let (after, before) = (images.pop()?, images.pop()?);
        let mut differ = segments(&after).into_iter().filter(|path| before.get(path) != after.get(path));
        let path = differ.next()?;
        differ.next().is_none().then_some(Self { before, after, path })
    }

    /// The sectors that the batch changes.
    fn sectors(&self) -> Vec<usize> {
        let (old, new) = (&self.before[&self.path], &self.after[&self.path]);
        let sectors = old.chunks(SECTOR).zip(new.chunks(SECTOR)).enumerate();
        sectors.filter(|(_, (old, new))| old != new).map(|(at, _)| at).collect()
    }

    /// The disk when only these sectors landed.
    fn landed(&self, sectors: &[usize]) -> Files {
        let mut mixed = self.before[&self.path].clone();
        for &at in sectors {
            mixed[at * SECTOR..(at + 1) * SECTOR].copy_from_slice(&self.after[&self.path][at * SECTOR..][..SECTOR]);
        }
        let mut files = self.after.clone();
        files.insert(self.path.clone(), mixed);
        files
    }
}

#[test]
fn a_batch_may_be_torn_at_every_sector() {
    let torn = (60..70).find_map(Torn::after).expect("not every batch meets the end of a segment");
    let changed = torn.sectors();
    assert!(changed.len() > 3 * BLOCK_BYTES / SECTOR, "{} sectors", changed.len());
    let (before, after) = (recover(&torn.before).expect("whole"), recover(&torn.after).expect("whole"));
    assert!(before != after);
    let check = |landed: &[usize]| {
        let found = recover(&torn.landed(landed)).unwrap_or_else(|error| panic!("sectors {landed:?}: {error}"));
        let whole = landed.len() == changed.len();
        assert!(found == *if whole { &after } else { &before }, "sectors {landed:?} of {changed:?}");
    };
    for cut in 0..=changed.len() {
        check(&changed[..cut]);
        check(&changed[cut..]);
    }
    let mut rng = Rng::new(0x5eed_0100);
    for _ in 0..300 {
        let landed: Vec<usize> = changed.iter().copied().filter(|_| rng.below(2) == 0).collect();
        check(&landed);
    }
}

#[test]
fn every_block_of_a_sealed_log_may_rot() {
    let (files, groups) = written(6, 240, true);
    let mut rng = Rng::new(0x5eed_0101);
    let (mut refused, mut harmless) = (0, 0);
    for (path, bytes) in &files {
        let is_segment = path.extension().is_some_and(|it| it == "seg");
        for block in 0..bytes.len() / BLOCK_BYTES {
            let mut rotten = files.clone();
            let bytes = rotten.get_mut(path).expect("it is there");
            // The start of a block, where headers are; and anywhere.
            let at = block * BLOCK_BYTES;
            for at in [at, at + rng.below(BLOCK_BYTES as u64) as usize] {
                bytes[at] ^= 1 << rng.below(8);
            }
            match recover(&rotten) {
                Ok(found) => {
                    assert!(found == groups, "{path:?} block {block}: another state");
                    harmless += 1;
                    // Behind the end of the log, in a gap at a segment's end, or a file that is not needed.
                    assert!(!is_segment || block > 0, "the header of a segment counts");
                }
                Err(LogOpenError::Corrupt { file, offset, .. }) => {
                    assert_eq!(&file, path, "block {block}");
                    assert!(offset <= at as u64 && is_segment, "block {block}, refused at {offset}");
                    refused += 1;
                }
                Err(error) => panic!("{path:?} block {block}: {error}"),
            }
        }
    }
    assert!(refused > 20 && harmless > 16, "{refused} refused, {harmless} harmless");
}

/// Runs with one write gone wrong unnoticed, goes on, seals, and judges what is on the disk.
fn misled(at: u64, fault: Fault) -> Option<bool> {
    let seed = 21;
    let disk = FaultyDisk::new(seed);
    let (log, recovered) = open(&disk).expect("a new log");
    let told = Rc::new(Told::after(&recovered));
    let context = format!("write {at}: {fault:?}");
    let mut rng = Rng::quiet(seed);
    spin(beside(&log, async {
        churn(&log, &told, &mut rng, 60).await;
        disk.strike(at, &[Op::Write], fault);
        churn(&log, &told, &mut rng, 60).await;
        seal(&log).await;
    }));
    if !disk.struck() {
        return None;
    }
    if let Some(error) = log.failure() {
        // The log came upon it by itself, when it copied live entries out of an old segment.
        assert!(error.to_string().contains("/log/"), "{context}: {error}");
    }
    Some(match recover(&disk.files()) {
        Ok(found) => {
            assert_eq!(told.expect(&found, &context), told.acknowledged(), "{context}");
            false
        }
        Err(LogOpenError::Corrupt { file, .. }) => {
            assert!(file.starts_with("/log"), "{context}: {file:?}");
            true
        }
        Err(error) => panic!("{context}: {error}"),
    })
}

#[test]
fn a_write_that_was_lost_or_landed_elsewhere_is_noticed() {
    // Where the victim may lie: the start of the log, within it, and behind its end; the same segment and others.
    let names: BTreeSet<String> = {
        let (files, _) = written(21, 60, false);
        segments(&files).iter().map(|path| name(path)).collect()
    };
    let (mut noticed, mut harmless) = (0, 0);
    let mut count = |outcome: bool| if outcome { noticed += 1 } else { harmless += 1 };
    for at in 0..40 {
        if let Some(outcome) = misled(at, Fault::Lose) {
            count(outcome);
        }
        for name in &names {
            for block in [0, 1, 2, 5, 9] {
                if let Some(outcome) = misled(at, Fault::Misdirect(name.clone(), block * BLOCK_BYTES as u64)) {
                    count(outcome);
                }
            }
        }
    }
    assert!(noticed > 2 * harmless && noticed > 100, "{noticed} noticed, {harmless} harmless");
}

#[test]
fn everybody_who_waits_for_a_failed_write_is_told() {
    let disk = FaultyDisk::new(3);
    let (log, _) = open(&disk).expect("a new log");
    let told = Rc::new(RefCell::new(Vec::new()));
    disk.strike(0, &[Op::Write], Fault::Fail);
    for number in 0..50u64 {
        let told = told.clone();
        let record = entry(1 + number / 5, vec![1; 5000]);
        log.append((number % 5) as u32, [record], move |outcome| told.borrow_mut().push((number, outcome.is_err())));
    }
    spin(log.run()).expect_err("the disk fails");
    assert_eq!(*told.borrow(), (0..50).map(|number| (number, true)).collect::<Vec<_>>());
    assert!(matches!(spin(log.append_durable(1, [])), Err(LogError::Failed { .. })));
}
