//! A log that is not ours, or newer than we are, is refused plainly; a failed write poisons the log.

mod common;

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;

use common::{IDENTITY, beside, disk, entry, open, recover, segments, temp_dir, write_log};
use kahuna_wal::{
    AlignedBuf, Disk, DiskFile, Durability, FileEntry, Log, LogError, LogIdentity, LogOptions, OpenError, OpenMode,
    UringDisk, UringFile, block_on,
};

#[test]
fn a_foreign_log_is_refused() {
    let dir = temp_dir();
    let options = LogOptions::small();
    write_log(dir.path(), &options, &[(1, entry(1, "mine"))], true);
    let ring = disk();
    let others = [
        LogIdentity { cluster: [9; 16], ..IDENTITY },
        LogIdentity { incarnation: 1, ..IDENTITY },
        LogIdentity { shard: 2, ..IDENTITY },
    ];
    for other in others {
        match block_on(&ring, Log::open(ring.clone(), dir.path(), other, options.clone())) {
            Err(OpenError::Foreign { found, expected, .. }) => assert_eq!((found, expected), (IDENTITY, other)),
            outcome => panic!("{:?}", outcome.map(|(_, recovered)| recovered)),
        }
    }
    assert_eq!(recover(dir.path(), &options).expect("its owner may").groups[&1].entries.len(), 1);
}

#[test]
fn a_newer_format_is_refused() {
    let dir = temp_dir();
    let options = LogOptions::small();
    write_log(dir.path(), &options, &[(1, entry(1, "x"))], true);
    let path = &segments(dir.path())[0];
    let mut bytes = fs::read(path).expect("the segment can be read");
    bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
    let crc = crc32(&bytes[..4092]);
    bytes[4092..4096].copy_from_slice(&crc.to_le_bytes());
    fs::write(path, bytes).expect("the segment is written");
    let outcome = recover(dir.path(), &options);
    assert!(matches!(&outcome, Err(OpenError::NewerFormat { found: 2, supported: 1, .. })), "{outcome:?}");
}

/// The checksum as the format's description names it (reflected, polynomial 0xEDB88320): written out, so that the
/// description is tested as well.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// A disk that fails every durable write once its budget is used up, and counts what was tried after that.
#[derive(Clone)]
struct FailingDisk {
    inner: UringDisk,
    faults: Rc<Faults>,
}

struct Faults {
    writes_left: Cell<u64>,
    tried_after: Cell<u64>,
}

struct FailingFile {
    inner: UringFile,
    faults: Rc<Faults>,
}

impl Disk for FailingDisk {
    type File = FailingFile;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<FailingFile> {
        Ok(FailingFile { inner: self.inner.open(path, mode).await?, faults: self.faults.clone() })
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        self.inner.list(dir).await
    }

    async fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir).await
    }

    async fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path).await
    }
}

impl DiskFile for FailingFile {
    async fn read_at(&self, offset: u64, len: usize) -> io::Result<AlignedBuf> {
        self.inner.read_at(offset, len).await
    }

    async fn write_at(&self, offset: u64, buf: AlignedBuf, durability: Durability) -> io::Result<AlignedBuf> {
        if durability == Durability::Durable {
            let Some(left) = self.faults.writes_left.get().checked_sub(1) else {
                self.faults.tried_after.set(self.faults.tried_after.get() + 1);
                return Err(io::Error::from_raw_os_error(5));
            };
            self.faults.writes_left.set(left);
        }
        self.inner.write_at(offset, buf, durability).await
    }

    async fn sync(&self) -> io::Result<()> {
        self.inner.sync().await
    }

    async fn len(&self) -> io::Result<u64> {
        self.inner.len().await
    }

    async fn allocate_zeroed(&self, len: u64) -> io::Result<()> {
        self.inner.allocate_zeroed(len).await
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.inner.truncate(len).await
    }
}

/// Appends one by one, with ever more queued behind, until one fails. Returns how many were acknowledged.
fn append_until_failure(dir: &Path, writes: u64) -> Option<u64> {
    let ring = disk();
    let faults = Rc::new(Faults { writes_left: Cell::new(writes), tried_after: Cell::new(0) });
    let failing = FailingDisk { inner: ring.clone(), faults: faults.clone() };
    let (log, _) = open(&ring, &failing, dir, &LogOptions::small()).ok()?;
    let told = Rc::new(RefCell::new(Vec::new()));
    let acknowledged = block_on(
        &ring,
        beside(&log, async {
            for index in 1u64.. {
                let told_later = told.clone();
                let first = log.append_durable(1, [entry(index, vec![1; 3000])]);
                log.append(2, [entry(index, "behind")], move |outcome| told_later.borrow_mut().push(outcome.is_ok()));
                if let Err(error) = first.await {
                    assert!(matches!(&error, LogError::Failed { operation: "write", .. }), "{error}");
                    return index - 1;
                }
            }
            unreachable!("the writes are limited")
        }),
    );
    assert!(log.failure().is_some());
    let told = told.borrow();
    assert_eq!(told.len() as u64, acknowledged + 1, "everybody who waited was told");
    assert_eq!(told.iter().filter(|&&durable| !durable).count(), 1);
    let late = block_on(&ring, log.append_durable(1, [entry(acknowledged + 9, "late")]));
    assert!(matches!(late, Err(LogError::Failed { .. })), "later appends get the error, whatever they hold");
    assert!(faults.tried_after.get() <= 2, "a failed write is never tried again");
    Some(acknowledged)
}

#[test]
fn a_failed_write_poisons_the_log_and_loses_nothing_acknowledged() {
    let mut acknowledged_most = 0;
    for writes in 0..60 {
        let dir = temp_dir();
        let Some(acknowledged) = append_until_failure(dir.path(), writes) else { continue };
        let recovered = recover(dir.path(), &LogOptions::small()).expect("the log opens");
        let kept = recovered.groups.get(&1).map_or(0, |group| group.entries.len() as u64);
        // What failed may have been the next segment's header while an append was on its way: its fate is unknown.
        assert!(kept == acknowledged || kept == acknowledged + 1, "{acknowledged} acknowledged, {kept} kept");
        acknowledged_most = acknowledged_most.max(acknowledged);
    }
    assert!(acknowledged_most > 40);
}
