//! The log on a disk that takes no time: what is left is the processor time of appending, writing and telling.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kahuna_microbench::{Cell, Table, median};
use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, FileEntry, Log, LogIdentity, LogOptions, OpenMode};

use super::load::{Load, LoadSample, Workload};
use super::metered::Metered;

/// A disk that keeps nothing and answers at once. A log that is new never reads.
#[derive(Clone)]
struct Nowhere;

impl Disk for Nowhere {
    type File = Self;

    async fn open(&self, _path: &Path, _mode: OpenMode) -> io::Result<Self> {
        Ok(Self)
    }

    async fn list(&self, _dir: &Path) -> io::Result<Vec<FileEntry>> {
        Ok(Vec::new())
    }

    async fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn remove(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn exists(&self, _path: &Path) -> io::Result<bool> {
        Ok(false)
    }
}

impl DiskFile for Nowhere {
    async fn read_at(&self, _offset: u64, _len: usize) -> io::Result<AlignedBuf> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn write_at(&self, _offset: u64, buf: AlignedBuf, _durability: Durability) -> io::Result<AlignedBuf> {
        Ok(buf)
    }

    async fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(LogOptions::default().segment_bytes)
    }

    async fn allocate_zeroed(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    async fn truncate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Rounds of each workload, on a log of its own: what another workload left live would have to be copied, and so read.
pub fn measure(workloads: &[Workload], rounds: u32, round: Duration) -> Result<Table, Box<dyn Error>> {
    let mut table = Table::new(["writers", "payload_b", "records_per_s", "flushes_per_record", "cpu_ns", "append_ns"]);
    for workload in workloads {
        let samples = all_rounds(workload, rounds, round)?;
        let of = |figure: fn(&LoadSample) -> f64| median(samples.iter().map(figure));
        table.push([
            Cell::Number(workload.writers as f64, 0),
            Cell::Number(workload.payload_bytes as f64, 0),
            Cell::Number(of(|sample| sample.records.per_second), 0),
            Cell::Number(of(|sample| sample.flushes_per_record), 4),
            Cell::Number(of(|sample| sample.records.cpu_us * 1000.0), 0),
            Cell::Number(of(|sample| sample.append_us * 1000.0), 0),
        ]);
    }
    Ok(table)
}

fn all_rounds(workload: &Workload, rounds: u32, round: Duration) -> Result<Vec<LoadSample>, Box<dyn Error>> {
    let disk = Metered::new(Nowhere);
    let identity = LogIdentity { cluster: [1; 16], incarnation: 1, shard: 0 };
    let open = Log::open(disk.clone(), Path::new("/nowhere"), identity, LogOptions::default());
    let (log, _) = poll_until_ready(open)?;
    let mut load = Load::new(log.clone(), disk);
    let mut run = pin!(log.run());
    let mut samples = Vec::new();
    for number in 0..=rounds {
        let mut work = pin!(load.run(workload, round));
        let sample = poll_until_ready(poll_fn(|context| {
            let done = work.as_mut().poll(context);
            let ended = done.is_pending() && run.as_mut().poll(context).is_ready();
            assert!(!ended, "a log on this disk neither fails nor is it closed");
            done
        }))?;
        if number > 0 {
            samples.push(sample);
        }
    }
    Ok(samples)
}

/// Polls `future` again and again: on this disk everything goes on at the next poll.
fn poll_until_ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
