//! Logs on a real disk: opened, written, opened again.

use std::path::Path;

use bytes::Bytes;
use kahuna_wal::{Disk, Log, LogIdentity, LogOpenError, LogOptions, Record, Recovered, UringDisk, block_on};

use super::drive::beside;

pub const IDENTITY: LogIdentity =
    LogIdentity { cluster: *b"cluster-under-te", incarnation: 0x1234_5678_9abc, shard: 1 };

pub fn disk() -> UringDisk {
    UringDisk::new(16).expect("io_uring is allowed here")
}

pub fn open<D: Disk>(
    ring: &UringDisk,
    disk: &D,
    dir: &Path,
    options: &LogOptions,
) -> Result<(Log<D>, Recovered), LogOpenError> {
    block_on(ring, Log::open(disk.clone(), dir, IDENTITY, options.clone()))
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

pub fn recover(dir: &Path, options: &LogOptions) -> Result<Recovered, LogOpenError> {
    let ring = disk();
    open(&ring, &ring, dir, options).map(|(_, recovered)| recovered)
}

pub fn entry(index: u64, payload: impl AsRef<[u8]>) -> Record {
    let mut meta = [0; 16];
    meta[..8].copy_from_slice(&index.to_le_bytes());
    Record::Entry { index, meta, payload: Bytes::copy_from_slice(payload.as_ref()) }
}
