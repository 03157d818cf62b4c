//! Somebody else's hands in the log's directory: files that are not the log's stay as they are, spares may go.

mod common;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use common::memory::{MemoryDisk, spin};
use common::{IDENTITY, beside, disk, entry, recover, segments, temp_dir, write_log, yield_once};
use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, Log, LogOptions, OpenMode, Record, Recovered, block_on};

fn open(disk: &MemoryDisk) -> (Log<MemoryDisk>, Recovered) {
    spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, LogOptions::small())).expect("the log opens")
}

/// Appends entries `from..=upto` of group 1, of 7,000 bytes each, and purges all but the last twenty.
async fn append(log: &Log<MemoryDisk>, from: u64, upto: u64) {
    for index in from..=upto {
        log.append_durable(1, [entry(index, vec![index as u8; 7000])]).await.expect("the append succeeds");
        if index.is_multiple_of(30) {
            let purge = Record::Purge { upto: index - 20, log_id: Bytes::from_static(b"id") };
            log.append_durable(1, [purge]).await.expect("the purge succeeds");
            log.release();
        }
    }
}

fn last_index(disk: &MemoryDisk) -> Option<u64> {
    open(disk).1.groups[&1].last_index()
}

fn spares(disk: &MemoryDisk) -> Vec<PathBuf> {
    let names = disk.names().into_iter().filter(|name| name.ends_with(".spare"));
    names.map(|name| Path::new("/log").join(name)).collect()
}

/// Claim: whatever files lie among the log's, they are told, none is read, removed or reused.
#[test]
fn files_of_other_names_are_told_and_left_alone() {
    let memory = MemoryDisk::default();
    let (log, _) = open(&memory);
    spin(beside(&log, append(&log, 1, 100)));
    let segment = LogOptions::small().segment_bytes as usize;
    let strays = [
        "+0000000000000000009.seg",
        "00000000000000000000.seg",
        "18446744073709551615.seg",
        "7.seg",
        "backup.spare",
        "copy.of.00000000000000000003.seg",
        "half.tmp",
        "notes.txt",
    ];
    spin(async {
        for (number, name) in strays.iter().enumerate() {
            let file = memory.open(&Path::new("/log").join(name), OpenMode::CreateDirect).await.expect("a new file");
            file.allocate_zeroed(segment as u64).await.expect("there is room");
            let bytes = AlignedBuf::copy_of(&vec![number as u8 + 1; segment]);
            file.write_at(0, bytes, Durability::Durable).await.expect("the write succeeds");
        }
    });
    let (log, recovered) = open(&memory);
    assert_eq!(recovered.report.strays, strays);
    assert_eq!(recovered.groups[&1].last_index(), Some(100));
    spin(beside(&log, append(&log, 101, 300)));
    for (number, name) in strays.iter().enumerate() {
        let bytes = &memory.files()[&Path::new("/log").join(name)];
        assert_eq!(*bytes, vec![number as u8 + 1; segment], "{name}");
    }
    assert_eq!(last_index(&memory), Some(300));
}

/// Claim: a spare that is gone, or was cut, is made anew; nothing appended is lost, and what the log counts is true.
#[test]
fn spares_may_go_while_the_log_runs() {
    for cut in [false, true] {
        let memory = MemoryDisk::default();
        let (log, _) = open(&memory);
        spin(async {
            beside(&log, async {
                for round in 0..10 {
                    append(&log, round * 50 + 1, round * 50 + 50).await;
                    for spare in spares(&memory) {
                        if cut {
                            let name = spare.file_name().and_then(|name| name.to_str()).expect("a plain name");
                            memory.damage(name, |bytes| bytes.truncate(4096));
                        } else {
                            memory.remove(&spare).await.expect("our own file");
                        }
                    }
                }
                append(&log, 501, 650).await;
                for _ in 0..20 {
                    yield_once().await;
                }
            })
            .await;
        });
        let stats = log.stats();
        assert_eq!((stats.reserve, stats.allocated_bytes), (2, memory.used()), "cut: {cut}: {stats:?}");
        assert_eq!(last_index(&memory), Some(650), "cut: {cut}");
    }
}

/// Claim: a file that goes away between its listing and the look at its length is no error. Files come and go on another
/// thread meanwhile.
#[test]
fn a_directory_can_be_listed_while_files_go() {
    let dir = temp_dir();
    let path = dir.path().to_owned();
    let ring = disk();
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            for round in 0..300 {
                let files: Vec<PathBuf> = (0..20).map(|number| path.join(format!("{round}-{number}"))).collect();
                files.iter().for_each(|file| std::fs::write(file, b"x").expect("a new file"));
                files.iter().for_each(|file| std::fs::remove_file(file).expect("our own file"));
            }
        });
        while !others.is_finished() {
            block_on(&ring, ring.list(&path)).expect("the directory can be listed");
        }
    });
}

/// Claim: a segment file of whatever length takes no more memory than its header says. (A terabyte could not be had.)
#[test]
fn a_segment_that_was_made_longer_is_read_as_far_as_its_header_says() {
    let (dir, options) = (temp_dir(), LogOptions::small());
    let appends: Vec<_> = (1..=20).map(|index| (1, entry(index, vec![7; 9000]))).collect();
    write_log(dir.path(), &options, &appends, true);
    for segment in segments(dir.path()) {
        let file = std::fs::OpenOptions::new().write(true).open(&segment).expect("our own file");
        file.set_len(1 << 40).expect("a file may be that long");
    }
    let ring = disk();
    let salvaged = block_on(&ring, Log::salvage(&ring, dir.path(), IDENTITY)).expect("it is our log");
    assert_eq!((salvaged.groups[&1].last_index(), salvaged.damage), (Some(20), None));
    let recovered = recover(dir.path(), &options).expect("the log is whole");
    assert_eq!(recovered.groups[&1].last_index(), Some(20));
    assert_eq!(recover(dir.path(), &options).expect("and stays so").groups, recovered.groups);
}
