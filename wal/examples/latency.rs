//! How close the log comes to its disk: `cargo run --release -p kahuna-wal --example latency [directory]`.
//!
//! Alternates, in one run and one directory, a raw loop of aligned durable writes (the disk's own limit) and appends
//! through the log, and prints the median and the tail of both.

use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kahuna_wal::{
    AlignedBuf, Disk, DiskFile, Durability, Log, LogIdentity, LogOptions, OpenMode, Record, UringDisk, block_on,
};

const ROUND: Duration = Duration::from_secs(1);
const RAW_BYTES: u64 = 32 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent)?;
    let disk = UringDisk::new(64)?;
    let identity = LogIdentity { cluster: [1; 16], incarnation: 1, shard: 0 };
    let (log, _) = block_on(&disk, Log::open(disk.clone(), &dir.path().join("log"), identity, LogOptions::default()))?;
    block_on(&disk, async {
        let mut run = pin!(log.run());
        let mut rounds = pin!(rounds(&disk, &log, dir.path()));
        poll_fn(|context| {
            // What the rounds append, the writer takes in the same poll.
            let done = rounds.as_mut().poll(context);
            assert!(run.as_mut().poll(context).is_pending(), "the log goes on: {:?}", log.failure());
            done
        })
        .await;
    });
    Ok(())
}

async fn rounds(disk: &UringDisk, log: &Log<UringDisk>, dir: &Path) {
    let raw = disk.open(&dir.join("raw"), OpenMode::CreateDirect).await.expect("the raw file opens");
    raw.allocate_zeroed(RAW_BYTES).await.expect("the raw file is filled");
    raw.sync().await.expect("the raw file is synced");
    let mut next_index = 1;
    for _ in 0..3 {
        raw_loop(&raw, 4096).await;
        append_loop(log, &mut next_index, 1, 3900).await;
        append_loop(log, &mut next_index, 1, 256).await;
        raw_loop(&raw, 80 << 10).await;
        append_loop(log, &mut next_index, 256, 256).await;
    }
    println!("{:?}", log.stats());
}

async fn raw_loop(raw: &impl DiskFile, write_bytes: usize) {
    let mut buf = AlignedBuf::zeroed(write_bytes);
    let mut taken = Vec::new();
    let began = Instant::now();
    let mut offset = 0;
    while began.elapsed() < ROUND {
        let before = Instant::now();
        buf = raw.write_at(offset, buf, Durability::Durable).await.expect("the write succeeds");
        taken.push(before.elapsed());
        offset = (offset + write_bytes as u64) % (RAW_BYTES - write_bytes as u64) / 4096 * 4096;
    }
    report(&format!("raw {write_bytes} B"), &mut taken, began.elapsed());
}

async fn append_loop(log: &Log<UringDisk>, next_index: &mut u64, writers: usize, payload_bytes: usize) {
    let payload = Bytes::from(vec![7; payload_bytes]);
    let mut taken = Vec::new();
    let began = Instant::now();
    let mut waiting: Vec<(Instant, Pin<Box<kahuna_wal::Appended>>)> = Vec::new();
    let mut append = || {
        let record = Record::Entry { index: *next_index, meta: [0; 16], payload: payload.clone() };
        let purge = Record::Purge { upto: *next_index, log_id: Bytes::new() };
        *next_index += 1;
        // Purged now and then, so that the log recycles its segments.
        let purge = next_index.is_multiple_of(1000).then_some(purge);
        (Instant::now(), Box::pin(log.append_durable(1, [record].into_iter().chain(purge))))
    };
    while began.elapsed() < ROUND {
        while waiting.len() < writers {
            waiting.push(append());
        }
        poll_fn(|context| {
            let before = waiting.len();
            waiting.retain_mut(|(since, appended)| match appended.as_mut().poll(context) {
                Poll::Ready(outcome) => {
                    outcome.expect("the append succeeds");
                    taken.push(since.elapsed());
                    false
                }
                Poll::Pending => true,
            });
            if waiting.len() < before { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    report(&format!("log {writers} x {payload_bytes} B"), &mut taken, began.elapsed());
    for (_, appended) in waiting {
        appended.await.expect("the append succeeds");
    }
}

fn report(what: &str, taken: &mut [Duration], elapsed: Duration) {
    taken.sort_unstable();
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize].as_nanos() as f64 / 1000.0;
    let per_second = taken.len() as f64 / elapsed.as_secs_f64();
    println!(
        "{what:>16}: p50 {:8.1} us  p99 {:8.1} us  max {:8.1} us  {per_second:10.0}/s",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
