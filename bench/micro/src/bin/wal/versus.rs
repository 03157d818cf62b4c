//! The log, each workload beside raw writes of the size and depth that the log itself had in that round.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use kahuna_microbench::{Cell, Table, ThreadClock, median};
use kahuna_wal::{
    AlignedBuf, BLOCK_BYTES, Disk, DiskFile, Durability, Log, LogIdentity, LogOptions, OpenMode, UringDisk, block_on,
};

use super::load::{Load, LoadSample, Workload};
use super::metered::Metered;
use super::raw::{self, FILE_BYTES, Options, Sample};

/// One round: the log, the raw loop, and the raw loop on the log's own ring, one write in flight.
struct Round {
    log: LoadSample,
    raw: Sample,
    raw_alone: Sample,
    ring_alone: Sample,
}

/// Rounds of all workloads in turn.
pub fn measure(dir: &Path, workloads: &[Workload], rounds: u32, round: Duration) -> Result<Table, Box<dyn Error>> {
    let raw_path = dir.join("raw");
    raw::prepare(&raw_path)?;
    let ring = UringDisk::new(64)?;
    let disk = Metered::new(ring.clone());
    let identity = LogIdentity { cluster: [1; 16], incarnation: 1, shard: 0 };
    let (log, _) = block_on(&ring, Log::open(disk.clone(), &dir.join("log"), identity, LogOptions::default()))?;
    let mut load = Load::new(log.clone(), disk);
    // One writer for all rounds; the raw loops block its thread while the log has nothing to do.
    let taken = block_on(&ring, beside(&log, all_rounds(&ring, &mut load, &raw_path, workloads, rounds, round)))?;
    Ok(report(workloads, &taken))
}

async fn all_rounds(
    ring: &UringDisk,
    load: &mut Load<UringDisk>,
    raw_path: &Path,
    workloads: &[Workload],
    rounds: u32,
    round: Duration,
) -> Result<Vec<Vec<Round>>, Box<dyn Error>> {
    let mut taken: Vec<Vec<Round>> = workloads.iter().map(|_| Vec::new()).collect();
    for number in 0..=rounds {
        for (workload, taken) in workloads.iter().zip(&mut taken) {
            let sample = load.run(workload, round).await?;
            let write_bytes = (sample.batch_bytes as usize).next_multiple_of(BLOCK_BYTES);
            let depth = sample.depth.ceil().max(1.0) as usize;
            let measured = Round {
                log: sample,
                raw: raw::run(raw_path, &Options::plain(write_bytes, depth), round)?,
                raw_alone: raw::run(raw_path, &Options::plain(write_bytes, 1), round)?,
                ring_alone: on_our_ring(ring, raw_path, write_bytes, round).await?,
            };
            if number > 0 {
                taken.push(measured);
            }
        }
    }
    Ok(taken)
}

fn report(workloads: &[Workload], taken: &[Vec<Round>]) -> Table {
    let mut table = Table::new([
        "writers",
        "payload_b",
        "records_per_s",
        "p50_us",
        "p99_us",
        "raw_p50_us",
        "ring_p50_us",
        "p50_ratio",
        "batch_kib",
        "depth",
        "batches_per_s",
        "raw_per_s",
        "share",
        "flushes_per_record",
        "cpu_us",
        "append_us",
    ]);
    for (workload, rounds) in workloads.iter().zip(taken) {
        let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
        table.push([
            Cell::Number(workload.writers as f64, 0),
            Cell::Number(workload.payload_bytes as f64, 0),
            Cell::Number(of(|round| round.log.records.per_second), 0),
            Cell::Number(of(|round| round.log.records.p50_us), 1),
            Cell::Number(of(|round| round.log.records.p99_us), 1),
            Cell::Number(of(|round| round.raw_alone.p50_us), 1),
            Cell::Number(of(|round| round.ring_alone.p50_us), 1),
            Cell::Number(of(|round| round.log.records.p50_us / round.raw_alone.p50_us), 2),
            Cell::Number(of(|round| round.log.batch_bytes / 1024.0), 1),
            Cell::Number(of(|round| round.log.depth), 2),
            Cell::Number(of(|round| round.log.batches_per_s), 0),
            Cell::Number(of(|round| round.raw.per_second), 0),
            Cell::Number(of(|round| round.log.batches_per_s / round.raw.per_second), 2),
            Cell::Number(of(|round| round.log.flushes_per_record), 4),
            Cell::Number(of(|round| round.log.records.cpu_us), 3),
            Cell::Number(of(|round| round.log.append_us), 3),
        ]);
    }
    table
}

/// Polls the log's writer beside `work`.
async fn beside<D: Disk, T>(log: &Log<D>, work: impl Future<Output = T>) -> T {
    let mut run = pin!(log.run());
    let mut work = pin!(work);
    let mut ended = false;
    poll_fn(|context| {
        let done = work.as_mut().poll(context);
        ended = ended || run.as_mut().poll(context).is_ready();
        done
    })
    .await
}

/// The raw loop again, on the ring that the log uses.
async fn on_our_ring(ring: &UringDisk, path: &Path, write_bytes: usize, round: Duration) -> io::Result<Sample> {
    let file = ring.open(path, OpenMode::WriteDirect).await?;
    let mut buf = AlignedBuf::zeroed(write_bytes);
    let mut nanos = Vec::with_capacity(1 << 16);
    let clock = ThreadClock::start();
    let began = Instant::now();
    let mut offset = 0;
    while began.elapsed() < round {
        let before = Instant::now();
        buf = file.write_at(offset, buf, Durability::Durable).await?;
        nanos.push(before.elapsed().as_nanos() as u64);
        let block = BLOCK_BYTES as u64;
        offset = (offset + write_bytes as u64) % (FILE_BYTES - write_bytes as u64) / block * block;
    }
    Ok(Sample::new(&mut nanos, began.elapsed(), clock.elapsed()))
}
