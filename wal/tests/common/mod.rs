//! What the tests of the log share: a log on a real disk, driven without an executor, and seeded randomness.

#![allow(dead_code, reason = "each test file uses a part of this")]

pub mod dying;
pub mod faulty;
pub mod held;
pub mod memory;
pub mod model;
pub mod told;

use std::fs;
use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use kahuna_wal::{Disk, Log, LogError, LogIdentity, LogOptions, OpenError, Record, Recovered, UringDisk, block_on};

pub const IDENTITY: LogIdentity =
    LogIdentity { cluster: *b"cluster-under-te", incarnation: 0x1234_5678_9abc, shard: 1 };

/// A directory on a real disk; tmpfs would ignore O_DIRECT.
pub fn temp_dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

pub fn disk() -> UringDisk {
    UringDisk::new(16).expect("io_uring is allowed here")
}

pub fn open<D: Disk>(
    ring: &UringDisk,
    disk: &D,
    dir: &Path,
    options: &LogOptions,
) -> Result<(Log<D>, Recovered), OpenError> {
    block_on(ring, Log::open(disk.clone(), dir, IDENTITY, options.clone()))
}

/// Polls the log's writer beside `work` until `work` is done, then drops the writer: as a process that dies.
pub async fn beside<D: Disk, T>(log: &Log<D>, work: impl Future<Output = T>) -> T {
    alongside(pin!(log.run()), work).await
}

/// Polls a writer beside `work` until `work` is done.
pub async fn alongside<T>(mut run: Pin<&mut impl Future>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut ended = false;
    poll_fn(|context| {
        // Twice, because each may give the other something to do, and only the disk wakes us.
        for _ in 0..2 {
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            ended = ended || run.as_mut().poll(context).is_ready();
        }
        Poll::Pending
    })
    .await
}

/// Lets everything else run once.
pub async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Closes the log behind what is queued, and runs its writer to the end.
pub async fn close<D: Disk>(log: &Log<D>) -> Result<(), LogError> {
    log.close();
    log.run().await
}

/// Opens and appends durably, one call after the other; then seals the tail, or stops without a word.
pub fn write_log(dir: &Path, options: &LogOptions, appends: &[(u32, Record)], sealed: bool) -> Recovered {
    let ring = disk();
    let (log, recovered) = open(&ring, &ring, dir, options).expect("the log opens");
    block_on(&ring, async {
        beside(&log, async {
            for (group, record) in appends {
                log.append_durable(*group, [record.clone()]).await.expect("the append succeeds");
            }
            if sealed {
                log.seal_if_idle();
                log.seal_if_idle();
                log.append_durable(0, []).await.expect("the seal is written");
            }
        })
        .await;
    });
    recovered
}

pub fn recover(dir: &Path, options: &LogOptions) -> Result<Recovered, OpenError> {
    let ring = disk();
    open(&ring, &ring, dir, options).map(|(_, recovered)| recovered)
}

pub fn entry(index: u64, payload: impl AsRef<[u8]>) -> Record {
    let mut meta = [0; 16];
    meta[..8].copy_from_slice(&index.to_le_bytes());
    Record::Entry { index, meta, payload: Bytes::copy_from_slice(payload.as_ref()) }
}

/// The segment files of a log, in order.
pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).expect("the directory can be read").map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

/// Copies all files of one directory into another, empty one.
pub fn copy_dir(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the directory can be read") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, to.join(path.file_name().expect("a file has a name"))).expect("the copy succeeds");
    }
}

/// A small seeded generator (splitmix64). A test prints its seed when it fails, because `Rng::new` says it on stdout.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        println!("seed {seed:#x}");
        Self(seed)
    }

    /// One whose seed the test itself says when it fails.
    pub fn quiet(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
