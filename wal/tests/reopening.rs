//! What an opening makes of the files it finds: which it goes on with, which it takes as spares, and which go.

mod common;

use std::path::Path;

use common::memory::{MemoryDisk, spin};
use common::{IDENTITY, beside, entry, yield_once};
use kahuna_wal::{Log, LogOptions, Record, Recovered, Space};

const SEGMENT: u64 = 64 << 10;

fn open_with(disk: &MemoryDisk, options: LogOptions) -> (Log<MemoryDisk>, Recovered) {
    spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, options)).expect("the log opens")
}

fn open(disk: &MemoryDisk) -> (Log<MemoryDisk>, Recovered) {
    open_with(disk, LogOptions::small())
}

/// Entries `from..=upto` of group 1, of 7,000 bytes.
async fn append(log: &Log<MemoryDisk>, from: u64, upto: u64) {
    for index in from..=upto {
        log.append_durable(1, [entry(index, vec![index as u8; 7000])]).await.expect("the append succeeds");
    }
}

/// Lets everything be made ready that is to be.
async fn settle() {
    for _ in 0..20 {
        yield_once().await;
    }
}

fn bytes(disk: &MemoryDisk, name: &str) -> Vec<u8> {
    let mut found = Vec::new();
    disk.damage(name, |bytes| found.clone_from(bytes));
    found
}

fn lengths(disk: &MemoryDisk, suffix: &str) -> Vec<u64> {
    let names = disk.names().into_iter().filter(|name| name.ends_with(suffix));
    names.map(|name| bytes(disk, &name).len() as u64).collect()
}

/// A log with entries 1 to 20, whose next segment, reserve and spares are ready, and the number of its tail.
fn written(disk: &MemoryDisk) -> u64 {
    let (log, _) = open(disk);
    spin(beside(&log, async {
        append(&log, 1, 40).await;
        log.append_durable(1, [Record::Purge { upto: 20, log_id: "id".into() }]).await.expect("the purge succeeds");
        log.release();
        settle().await;
    }));
    let stats = log.stats();
    assert_eq!((stats.reserve, stats.spares, stats.allocated_bytes), (2, 2, disk.used()), "{stats:?}");
    stats.tail_segment
}

#[test]
fn the_segment_that_is_ready_behind_the_end_stays_ready() {
    let disk = MemoryDisk::default();
    let next = format!("{:020}.seg", written(&disk) + 1);
    let before = bytes(&disk, &next);
    let allocations = disk.allocations();
    let (log, _) = open(&disk);
    spin(beside(&log, settle()));
    assert_eq!(bytes(&disk, &next), before, "it is the same use of the file");
    let stats = log.stats();
    assert_eq!((disk.allocations(), stats.reserve, stats.spares), (allocations, 2, 2), "{stats:?}");
    assert_eq!((stats.allocated_bytes, log.space()), (disk.used(), Space::Plenty));
}

#[test]
fn files_of_another_length_are_replaced_and_not_written() {
    for length in [SEGMENT / 2, 2 * SEGMENT] {
        let disk = MemoryDisk::default();
        let tail = written(&disk);
        let options = LogOptions { segment_bytes: length, max_batch_bytes: 16 << 10, ..LogOptions::small() };
        let (log, _) = open_with(&disk, options);
        spin(beside(&log, async {
            settle().await;
            assert_eq!((lengths(&disk, ".spare"), log.stats().reserve), (vec![length; 2], 2));
            assert_eq!(bytes(&disk, &format!("{:020}.seg", tail + 1)).len() as u64, length);
            assert_eq!(log.stats().allocated_bytes, disk.used());
            append(&log, 41, 80).await;
        }));
        drop(log);
        let (_, recovered) = open(&disk);
        assert_eq!(recovered.groups[&1].entries.len(), 60);
    }
}

#[test]
fn the_segment_behind_the_end_is_made_again_in_the_newest_format() {
    let disk = MemoryDisk::default();
    let tail = written(&disk);
    for name in disk.names().iter().filter(|name| name.ends_with(".seg")) {
        disk.damage(name, |bytes| {
            bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
            let crc = crc32fast::hash(&bytes[..4092]);
            bytes[4092..4096].copy_from_slice(&crc.to_le_bytes());
        });
    }
    let (log, _) = open(&disk);
    spin(beside(&log, settle()));
    assert_eq!([tail, tail + 1].map(|segment| bytes(&disk, &format!("{segment:020}.seg"))[8]), [1, 2]);
}

#[test]
fn spares_beyond_what_is_kept_are_removed() {
    let disk = MemoryDisk::default();
    written(&disk);
    for (reserve_segments, spare_segments) in [(2, 1), (1, 1), (0, 1), (0, 0)] {
        let (log, _) = open_with(&disk, LogOptions { reserve_segments, spare_segments, ..LogOptions::small() });
        let stats = log.stats();
        assert_eq!((stats.reserve, stats.spares), (reserve_segments as u64, spare_segments as u64), "{stats:?}");
        assert_eq!(lengths(&disk, ".spare").len(), reserve_segments + spare_segments);
        assert_eq!(stats.allocated_bytes, disk.used());
    }
}

/// An opening that ended early has given files names of its run, which the next opening takes for its own again.
#[test]
fn a_name_of_an_opening_that_ended_early_is_not_given_again() {
    let mut disk = MemoryDisk::default();
    written(&disk);
    for life in 2..5u64 {
        // Under the names that this opening would begin with.
        let spares = disk.names().into_iter().filter(|name| name.ends_with(".spare"));
        let mut files = disk.files();
        for (name, number) in spares.zip([3u64, 1, 2, 4]) {
            let spare = files.remove(&Path::new("/log").join(name)).expect("it is there");
            files.insert(Path::new("/log").join(format!("{:016x}.spare", life << 32 | number)), spare);
        }
        disk = MemoryDisk::holding(files);
        let (log, _) = open(&disk);
        spin(beside(&log, async {
            let last = 20 * life;
            append(&log, last + 1, last + 20).await;
            log.append_durable(1, [Record::Purge { upto: last, log_id: "id".into() }])
                .await
                .expect("the purge succeeds");
            log.release();
            settle().await;
        }));
        let stats = log.stats();
        assert_eq!((stats.reserve, stats.spares, stats.allocated_bytes), (2, 2, disk.used()), "life {life}: {stats:?}");
    }
}
