//! What was appended comes back: every kind of record, many groups, several segments, over reopening.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::model::{apply, random_record};
use common::{IDENTITY, Rng, beside, disk, entry, open, recover, segments, temp_dir, write_log};
use kahuna_wal::recovery::scan;
use kahuna_wal::{Log, LogOpenError, LogOptions, Record, block_on};

#[test]
fn every_kind_of_record_survives_reopening() {
    let mut rng = Rng::new(0x5eed_0001);
    let dir = temp_dir();
    let options = LogOptions::small();
    let mut model = BTreeMap::new();
    let ring = disk();
    for opening in 0..12 {
        let (log, recovered) = open(&ring, &ring, dir.path(), &options).expect("the log opens");
        assert_eq!(recovered.groups, model, "opening {opening}");
        assert_eq!((recovered.report.run, recovered.report.fresh), (opening + 1, opening == 0));
        block_on(&ring, async {
            beside(&log, async {
                for _ in 0..40 {
                    let mut appended = Vec::new();
                    for _ in 0..rng.below(12) {
                        let group = rng.below(5) as u32;
                        let record = random_record(&mut rng, model.get(&group));
                        apply(&mut model, group, &record);
                        appended.push(log.append_durable(group, [record]));
                    }
                    for one in appended {
                        one.await.expect("the append succeeds");
                    }
                    log.release();
                }
            })
            .await;
        });
        let stats = log.stats();
        assert!(stats.tail_segment > 3 * opening, "the log did not roll: {stats:?}");
    }
    let files: Vec<(u64, Vec<u8>)> = segments(dir.path())
        .iter()
        .map(|path| {
            let sequence = path.file_stem().and_then(|stem| stem.to_str()).expect("a segment's name").parse();
            (sequence.expect("a number"), fs::read(path).expect("the segment can be read"))
        })
        .collect();
    let bytes: Vec<(u64, &[u8])> = files.iter().map(|(sequence, bytes)| (*sequence, &bytes[..])).collect();
    let (groups, _) = scan(&IDENTITY, &bytes).expect("the pure scan agrees");
    assert_eq!(groups, model);
}

#[test]
fn a_record_larger_than_a_batch_stands_alone() {
    let dir = temp_dir();
    let options = LogOptions::small();
    let large = options.max_record_bytes() - 36;
    let appends: Vec<(u32, Record)> = (1..=4).map(|index| (1, entry(index, vec![index as u8; large]))).collect();
    write_log(dir.path(), &options, &appends, false);
    let recovered = recover(dir.path(), &options).expect("the log opens");
    assert_eq!(recovered.groups[&1].entries.len(), 4);
    assert_eq!(recovered.groups[&1].entries[3].payload, vec![4; large]);
}

#[test]
fn a_log_may_be_reopened_with_segments_of_another_size() {
    let dir = temp_dir();
    let small = LogOptions::small();
    let larger = LogOptions { segment_bytes: 128 << 10, ..LogOptions::small() };
    let mut expected = 0;
    for round in 0..6 {
        let options = if round % 2 == 0 { &small } else { &larger };
        let appends: Vec<(u32, Record)> =
            (0..20).map(|at| (1, entry(expected + at + 1, [round as u8; 9000]))).collect();
        let recovered = write_log(dir.path(), options, &appends, round % 3 == 0);
        assert_eq!(recovered.groups.get(&1).map_or(0, |log| log.entries.len() as u64), expected);
        expected += 20;
    }
}

#[test]
fn a_missing_log_is_refused_when_one_must_be_there() {
    let dir = temp_dir();
    let options = LogOptions { create: false, ..LogOptions::small() };
    assert!(matches!(recover(&dir.path().join("none"), &options), Err(LogOpenError::Missing { .. })));
    assert!(matches!(recover(dir.path(), &options), Err(LogOpenError::Missing { .. })));
    write_log(dir.path(), &LogOptions::small(), &[(1, entry(1, "x"))], false);
    assert_eq!(recover(dir.path(), &options).expect("there is one now").groups.len(), 1);
}

/// Zeros behind the headers look like a log that nothing was ever written to; its opening wrote a batch.
#[test]
fn a_log_without_a_batch_is_refused_when_one_must_be_there() {
    let dir = temp_dir();
    let options = LogOptions { create: false, ..LogOptions::small() };
    let appends: Vec<(u32, Record)> = (1..=10).map(|index| (1, entry(index, vec![1; 9000]))).collect();
    write_log(dir.path(), &LogOptions::small(), &appends, true);
    let files = segments(dir.path());
    for path in &files {
        let mut bytes = fs::read(path).expect("a segment");
        bytes[4096..].fill(0);
        fs::write(path, bytes).expect("a segment");
    }
    let is_refused = |options: &LogOptions| {
        let outcome = recover(dir.path(), options);
        matches!(&outcome, Err(LogOpenError::Corrupt { file, offset: 4096, .. }) if *file == files[0])
    };
    assert!(files.len() > 1, "ten entries do not fit in one segment");
    assert!(is_refused(&LogOptions::small()));
    files[1..].iter().for_each(|path| fs::remove_file(path).expect("our own file"));
    assert!(is_refused(&options));
    let ring = disk();
    let salvaged = block_on(&ring, Log::salvage(&ring, dir.path(), IDENTITY)).expect("it can be read");
    assert_eq!(salvaged.damage.map(|damage| damage.at.offset), Some(4096));
    assert!(recover(dir.path(), &LogOptions::small()).expect("it may be new").report.fresh);
}
