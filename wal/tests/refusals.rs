//! A log that is not ours, or newer than we are, is refused plainly; a failed write poisons the log.

mod common;

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use common::dying::DyingDisk;
use common::{IDENTITY, Rng, beside, disk, entry, open, recover, segments, temp_dir, write_log};
use kahuna_wal::{Log, LogError, LogIdentity, LogOpenError, LogOptions, block_on};

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
            Err(LogOpenError::Foreign { found, expected, .. }) => assert_eq!((found, expected), (IDENTITY, other)),
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
    bytes[8..12].copy_from_slice(&3u32.to_le_bytes());
    let crc = crc32(&bytes[..4092]);
    bytes[4092..4096].copy_from_slice(&crc.to_le_bytes());
    fs::write(path, bytes).expect("the segment is written");
    let outcome = recover(dir.path(), &options);
    assert!(matches!(&outcome, Err(LogOpenError::NewerFormat { found: 3, supported: 2, .. })), "{outcome:?}");
}

/// The checksum as the format's description names it (reflected, polynomial 0xEDB88320): written out, so that the
/// description is tested as well.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// Appends one by one, with ever more queued behind, until one fails. Returns how many were acknowledged.
fn append_until_failure(dir: &Path, steps: u64) -> Option<u64> {
    let ring = disk();
    let failing = DyingDisk::new(&ring, steps, Rng::new(steps));
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
                    assert!(matches!(&error, LogError::Failed { .. }), "{error}");
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
    assert!(failing.tried_after_death() <= 2, "a failed operation is never tried again");
    Some(acknowledged)
}

#[test]
fn a_failed_write_poisons_the_log_and_loses_nothing_acknowledged() {
    let mut acknowledged_most = 0;
    for steps in 0..80 {
        let dir = temp_dir();
        let Some(acknowledged) = append_until_failure(dir.path(), steps) else { continue };
        let recovered = recover(dir.path(), &LogOptions::small()).expect("the log opens");
        let kept = recovered.groups.get(&1).map_or(0, |group| group.entries.len() as u64);
        // What failed may have been the next segment while an append was on its way: its fate is unknown.
        assert!(kept == acknowledged || kept == acknowledged + 1, "{acknowledged} acknowledged, {kept} kept");
        acknowledged_most = acknowledged_most.max(acknowledged);
    }
    assert!(acknowledged_most > 40);
}
