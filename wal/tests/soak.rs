//! Long runs, started by hand: millions of small writes, and the log stays short and exact.

mod common;

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use common::memory::{MemoryDisk, spin};
use common::{IDENTITY, beside, disk, temp_dir};
use kahuna_wal::{Disk, Log, LogOptions, Record, Recovered, block_on};

/// These purge.
const BUSY: u32 = 63;
/// Never purges, and stays small.
const SLOW: u32 = 64;
/// Said one thing, once.
const IDLE: u32 = 65;

/// Entries a busy group keeps when it purges, and how many it appends until then.
const KEPT: u64 = 200;
const PURGE_EVERY: u64 = 500;
/// Writes until the slow group makes one.
const SLOW_EVERY: u64 = 20_000;
/// Appends that wait for one flush.
const ROUND: u64 = 200;

fn options() -> LogOptions {
    LogOptions { segment_bytes: 1 << 20, max_batch_bytes: 256 << 10, ..LogOptions::default() }
}

fn record(group: u32, index: u64) -> Record {
    let payload = Bytes::from(vec![(u64::from(group) ^ index) as u8; (index % 60) as usize]);
    Record::Entry { index, meta: [group as u8; 16], payload }
}

/// Writes until there are `writes` of them; returns the longest the log was, as a part of its bound.
async fn write<D: Disk>(log: &Log<D>, writes: u64, last: &mut [u64]) -> f64 {
    let (segment, multiple, slack) = (options().segment_bytes, options().max_live_multiple, options().slack_segments);
    let mut longest: f64 = 0.0;
    log.append_durable(IDLE, [Record::Vote(Bytes::from_static(b"the vote"))]).await.expect("the append succeeds");
    for write in 0..writes {
        let group = if write % SLOW_EVERY == 0 { SLOW } else { 1 + (write % u64::from(BUSY)) as u32 };
        let index = &mut last[group as usize];
        *index += 1;
        log.append_lazily(group, [record(group, *index)]);
        if group != SLOW && is_purge(group, *index) {
            let upto = *index - KEPT;
            log.append_lazily(group, [Record::Purge { upto, log_id: Bytes::from_static(b"log id") }]);
            log.release();
        }
        if write % ROUND == 0 {
            log.append_durable(group, []).await.expect("the barrier passes");
            let stats = log.stats();
            let (used, bound) = (stats.segments * segment, multiple * stats.live_bytes + slack * segment);
            assert!(used <= bound, "after {write} writes: {stats:?}");
            longest = longest.max(used as f64 / bound as f64);
        }
    }
    log.append_durable(IDLE, []).await.expect("the barrier passes");
    longest
}

/// Whether a group purges after this entry: each at its own time, so that what lives is about the same at all times.
fn is_purge(group: u32, index: u64) -> bool {
    index > KEPT && (index + 8 * u64::from(group)).is_multiple_of(PURGE_EVERY)
}

fn check(recovered: &Recovered, last: &[u64]) {
    assert_eq!(recovered.groups.len(), BUSY as usize + 2);
    let idle = &recovered.groups[&IDLE];
    assert_eq!((idle.vote.as_deref(), idle.last_index()), (Some(&b"the vote"[..]), None));
    for group in 1..=SLOW {
        let found = &recovered.groups[&group];
        let last_purge = (1..=last[group as usize]).rev().find(|&index| group != SLOW && is_purge(group, index));
        let purged = last_purge.map_or(0, |index| index - KEPT);
        assert_eq!(found.purged.as_ref().map_or(0, |(upto, _)| *upto), purged, "group {group}");
        let entries = found.entries.iter().map(|entry| Record::Entry {
            index: entry.index,
            meta: entry.meta,
            payload: entry.payload.clone(),
        });
        assert!(entries.eq((purged + 1..=last[group as usize]).map(|index| record(group, index))), "group {group}");
    }
}

#[test]
#[ignore = "ten million writes"]
fn ten_million_writes_of_64_groups_stay_within_the_bound() {
    let disk = MemoryDisk::default();
    let mut last = [0; 1 + SLOW as usize];
    let open = || spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, options())).expect("the log opens");
    let began = Instant::now();
    let (log, _) = open();
    let longest = spin(beside(&log, write(&log, 10_000_000, &mut last)));
    println!("{longest:.2} of the bound at most, {:.0?}, {:?}", began.elapsed(), log.stats());
    drop(log);
    check(&open().1, &last);
}

#[test]
#[ignore = "a million writes to the disk"]
fn a_million_writes_to_the_disk_stay_within_the_bound() {
    let dir = temp_dir();
    let ring = disk();
    let mut last = [0; 1 + SLOW as usize];
    let open = || block_on(&ring, Log::open(ring.clone(), dir.path(), IDENTITY, options())).expect("the log opens");
    let began = Instant::now();
    let (log, _) = open();
    let longest = block_on(&ring, beside(&log, write(&log, 1_000_000, &mut last)));
    println!("{longest:.2} of the bound at most, {:.0?}, {:?}", began.elapsed(), log.stats());
    drop(log);
    check(&open().1, &last);
}

#[test]
#[ignore = "writes and reads 1 GiB"]
fn opening_a_log_of_1_gib() {
    let dir = temp_dir();
    let ring = disk();
    let open = || block_on(&ring, Log::open(ring.clone(), dir.path(), IDENTITY, LogOptions::default()));
    let (log, _) = open().expect("the log opens");
    block_on(
        &ring,
        beside(&log, async {
            let mut index = 0;
            while log.stats().segments < 32 {
                for _ in 0..1_000 {
                    index += 1;
                    let payload = Bytes::from(vec![index as u8; 1024]);
                    log.append_lazily(1, [Record::Entry { index, meta: [0; 16], payload }]);
                }
                log.append_durable(1, []).await.expect("the barrier passes");
            }
        }),
    );
    drop(log);
    for cached in [true, true, false, false, false] {
        if !cached {
            forget_pages(dir.path());
        }
        let began = Instant::now();
        let (_, recovered) = open().expect("the log opens");
        let took = began.elapsed();
        println!(
            "{} ms ({}), {:?}",
            took.as_millis(),
            if cached { "cached" } else { "from the disk" },
            recovered.report
        );
    }
}

/// Lets the page cache forget the files of a directory.
fn forget_pages(dir: &Path) {
    for entry in std::fs::read_dir(dir).expect("the directory can be read") {
        let path = entry.expect("an entry").path();
        let file = std::fs::File::open(&path).expect("the file opens");
        file.sync_all().expect("the file is synced");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advice is taken");
    }
}
