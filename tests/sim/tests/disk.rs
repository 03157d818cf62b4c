//! The memory disk: what a power loss leaves, and what it must leave.

use std::{io::ErrorKind, path::Path};

use kahuna_sim::{DiskOp, DiskOptions, SimDisk, World};
use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, OpenMode};

fn path(name: &str) -> &Path {
    Path::new(name)
}

/// A disk whose operations take no time.
fn instant(seed: u64) -> SimDisk {
    SimDisk::new(DiskOptions { seed, latency_nanos: (0, 0), ..DiskOptions::default() })
}

fn run(test: impl AsyncFnOnce()) {
    World::new(1).block_on(test());
}

#[test]
fn what_was_synced_survives_and_nothing_else_must() {
    run(async || {
        for seed in 0..50 {
            let disk = instant(seed);
            disk.create_dir_all(path("/data/log")).await.expect("made");
            let file = disk.open(path("/data/log/a"), OpenMode::Create).await.expect("created");
            file.write_at(0, AlignedBuf::copy_of(b"kept"), Durability::Buffered).await.expect("written");
            file.sync().await.expect("synced");
            disk.sync_dir(path("/data/log")).await.expect("synced");
            file.write_at(4, AlignedBuf::copy_of(b"durable"), Durability::Durable).await.expect("written");
            file.write_at(11, AlignedBuf::copy_of(b"maybe"), Durability::Buffered).await.expect("written");
            assert_eq!(disk.contents(path("/data/log/a")).expect("there"), b"keptdurablemaybe");
            disk.crash();
            let left = disk.contents(path("/data/log/a")).expect("its name is durable");
            assert!(left == b"keptdurable" || left == b"keptdurablemaybe", "seed {seed}: {left:?}");
        }
    });
}

#[test]
fn each_sector_of_an_unsynced_write_has_its_own_fate() {
    run(async || {
        let mut fates = Vec::new();
        for seed in 0..50 {
            let disk = instant(seed);
            let file = disk.open(path("/a"), OpenMode::CreateDirect).await.expect("created");
            file.allocate_zeroed(4096).await.expect("room");
            file.sync().await.expect("synced");
            disk.sync_dir(path("/")).await.expect("synced");
            file.write_at(0, AlignedBuf::copy_of(&[9; 4096]), Durability::Buffered).await.expect("written");
            disk.crash();
            let left = disk.contents(path("/a")).expect("there");
            assert_eq!(left.len(), 4096);
            let fate: Vec<u8> = left.chunks(512).map(|sector| sector[0]).collect();
            assert!(left.chunks(512).zip(&fate).all(|(sector, first)| sector.iter().all(|byte| byte == first)));
            fates.push(fate);
        }
        assert!(fates.iter().any(|fate| fate.contains(&0)) && fates.iter().any(|fate| fate.contains(&9)));
        fates.dedup();
        assert!(fates.len() > 1, "the seed decides");
    });
}

#[test]
fn names_are_durable_after_a_sync_of_their_directory() {
    run(async || {
        let disk = instant(1);
        for name in ["/kept", "/removed", "/old"] {
            disk.open(path(name), OpenMode::Create).await.expect("created");
        }
        disk.sync_dir(path("/")).await.expect("synced");
        disk.remove(path("/removed")).await.expect("removed");
        disk.rename(path("/old"), path("/new")).await.expect("renamed");
        disk.open(path("/lost"), OpenMode::Create).await.expect("created");
        let names = async || {
            disk.list(path("/")).await.expect("listed").into_iter().map(|entry| entry.name).collect::<Vec<_>>()
        };
        assert_eq!(names().await, ["kept", "lost", "new"]);
        disk.crash();
        assert_eq!(names().await, ["kept", "old", "removed"]);
        disk.rename(path("/old"), path("/kept")).await.expect("renamed");
        disk.remove(path("/removed")).await.expect("removed");
        disk.sync_dir(path("/")).await.expect("synced");
        disk.crash();
        assert_eq!(names().await, ["kept"]);
    });
}

#[test]
fn a_removed_directory_stays_away_once_that_is_durable() {
    run(async || {
        let disk = instant(1);
        let make = async || {
            disk.create_dir_all(path("/log/shard")).await.expect("made");
            drop(disk.open(path("/log/shard/file"), OpenMode::Create).await.expect("made"));
            disk.sync_dir(path("/log/shard")).await.expect("synced");
        };
        for synced in [false, true] {
            make().await;
            disk.remove_tree(path("/log/shard"));
            if synced {
                disk.sync_dir(path("/log")).await.expect("synced");
            }
            disk.crash();
            for name in ["/log/shard", "/log/shard/file"] {
                assert_eq!(disk.exists(path(name)).await.expect("a name"), !synced, "{name}");
            }
        }
    });
}

#[test]
fn a_file_that_was_cut_and_grown_holds_zeros_also_after_a_crash() {
    run(async || {
        let disk = instant(1);
        let file = disk.open(path("/a"), OpenMode::Create).await.expect("created");
        file.write_at(0, AlignedBuf::copy_of(&[1; 2000]), Durability::Durable).await.expect("written");
        disk.sync_dir(path("/")).await.expect("synced");
        file.truncate(500).await.expect("cut");
        file.truncate(1500).await.expect("grown");
        file.sync().await.expect("synced");
        disk.crash();
        let left = disk.contents(path("/a")).expect("there");
        assert_eq!((&left[..500], &left[500..]), (&[1; 500][..], &[0; 1000][..]));
    });
}

#[test]
fn direct_files_take_whole_blocks_only() {
    run(async || {
        let disk = instant(1);
        let file = disk.open(path("/a"), OpenMode::CreateDirect).await.expect("created");
        for (offset, len) in [(0, 100), (512, 4096)] {
            let error = file.write_at(offset, AlignedBuf::zeroed(len), Durability::Durable).await.map(drop);
            assert_eq!(error.expect_err("refused").kind(), ErrorKind::InvalidInput);
        }
        file.write_at(4096, AlignedBuf::zeroed(8192), Durability::Durable).await.expect("whole blocks");
        assert_eq!(file.read_at(8192, 1 << 20).await.expect("read").len(), 4096, "short where the file ends");
        let reader = disk.open(path("/a"), OpenMode::Read).await.expect("there");
        assert_eq!(reader.read_at(4095, 3).await.expect("any place").len(), 3);
        let error = reader.write_at(0, AlignedBuf::zeroed(1), Durability::Buffered).await.map(drop);
        assert_eq!(error.expect_err("read only").kind(), ErrorKind::PermissionDenied);
    });
}

#[test]
fn what_is_missing_is_not_found() {
    run(async || {
        let disk = instant(1);
        for mode in [OpenMode::Read, OpenMode::WriteDirect] {
            let error = disk.open(path("/a"), mode).await.map(drop).expect_err("no file");
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        let error = disk.open(path("/no/a"), OpenMode::Create).await.map(drop).expect_err("no directory");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(!disk.exists(path("/no")).await.expect("works"));
        disk.create_dir_all(path("/no/no/no")).await.expect("made");
        assert!(disk.exists(path("/no/no")).await.expect("works"));
    });
}

#[test]
fn faults_strike_when_told_and_end_when_mended() {
    run(async || {
        let disk = instant(1);
        let file = disk.open(path("/a"), OpenMode::Create).await.expect("created");
        disk.fail(DiskOp::Write, 2, ErrorKind::Other);
        for round in 0..4 {
            let written = file.write_at(0, AlignedBuf::zeroed(8), Durability::Durable).await;
            assert_eq!(written.is_ok(), round < 2, "write {round}");
        }
        file.sync().await.expect("another kind of operation");
        disk.mend();
        file.write_at(0, AlignedBuf::zeroed(8), Durability::Durable).await.expect("mended");
    });
}

#[test]
fn a_full_disk_says_so() {
    run(async || {
        let disk = SimDisk::new(DiskOptions { capacity: 8192, latency_nanos: (0, 0), seed: 1 });
        let one = disk.open(path("/one"), OpenMode::CreateDirect).await.expect("created");
        one.allocate_zeroed(8192).await.expect("room");
        one.write_at(4096, AlignedBuf::zeroed(4096), Durability::Durable).await.expect("no longer than it was");
        let two = disk.open(path("/two"), OpenMode::CreateDirect).await.expect("created");
        let full = two.write_at(0, AlignedBuf::zeroed(4096), Durability::Durable).await.map(drop);
        assert_eq!(full.expect_err("full").kind(), ErrorKind::StorageFull);
        drop(one);
        disk.remove(path("/one")).await.expect("removed");
        disk.sync_dir(path("/")).await.expect("synced");
        two.write_at(0, AlignedBuf::zeroed(4096), Durability::Durable).await.expect("room again");
    });
}
