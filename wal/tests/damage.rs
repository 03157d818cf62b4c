//! Bytes that were lost or altered: an exact prefix, or a refusal that names file and offset; never a wrong record.
//!
//! Each test writes a log, keeps what was appended, and damages copies of it. What must come back follows from where the
//! damage is: bytes that a later header claims durable may not be missing.

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::{Rng, beside, copy_dir, disk, entry, open, recover, segments, temp_dir, write_log, yield_once};
use kahuna_wal::inspect::segment_path;
use kahuna_wal::{LogEntry, LogOpenError, LogOptions, Record, Recovered, block_on};

const BLOCK: u64 = 4096;

/// A log of several small segments: group 1 with entries of many lengths. Returns the entries.
fn written(dir: &Path, options: &LogOptions, rng: &mut Rng, sealed: bool) -> Vec<Record> {
    let entries: Vec<Record> =
        (1..=60).map(|index| entry(index, vec![index as u8; rng.below(9000) as usize])).collect();
    let appends: Vec<(u32, Record)> = entries.iter().map(|entry| (1, entry.clone())).collect();
    write_log(dir, options, &appends, sealed);
    assert!(segments(dir).len() > 3, "the log has several segments");
    entries
}

fn as_record(entry: &LogEntry) -> Record {
    Record::Entry { index: entry.index, meta: entry.meta, payload: entry.payload.clone() }
}

/// How many entries came back; panics when they are no exact prefix.
fn prefix_length(recovered: &Recovered, entries: &[Record]) -> usize {
    let Some(group) = recovered.groups.get(&1) else { return 0 };
    let back: Vec<Record> = group.entries.iter().map(as_record).collect();
    assert!(entries.starts_with(&back), "{} entries came back, not a prefix", back.len());
    back.len()
}

fn is_refused_at(outcome: &Result<Recovered, LogOpenError>, path: &Path, dir: &Path, at: impl Fn(u64) -> bool) -> bool {
    match outcome {
        Err(LogOpenError::Corrupt { file, offset, .. }) => {
            file.file_name() == path.file_name() && file.starts_with(dir) && at(*offset)
        }
        _ => false,
    }
}

/// The segment that holds the end of the log, and the offset behind its last byte that is not zero.
fn tail(dir: &Path) -> (std::path::PathBuf, u64) {
    let with_end = segments(dir).into_iter().rev().map(|path| {
        let bytes = fs::read(&path).expect("the segment can be read");
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1);
        (path, end)
    });
    with_end.into_iter().find(|(_, end)| *end > BLOCK).expect("a segment has batches")
}

fn flip(path: &Path, offset: u64, mask: u8) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the segment opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("the byte is there");
    file.write_all_at(&[byte[0] ^ mask], offset).expect("the byte is written");
}

fn zero_from(path: &Path, offset: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("the segment opens");
    let len = file.metadata().expect("a length").len();
    file.write_all_at(&vec![0; (len - offset) as usize], offset).expect("zeros are written");
}

#[test]
fn a_shortened_file_is_refused_where_it_ends() {
    let mut rng = Rng::new(0x5eed_0002);
    let (original, options) = (temp_dir(), LogOptions::small());
    written(original.path(), &options, &mut rng, true);
    for _ in 0..200 {
        let copy = temp_dir();
        copy_dir(original.path(), copy.path());
        let (path, _) = tail(copy.path());
        let cut = rng.below(options.segment_bytes);
        OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(cut)).expect("the file is cut");
        let outcome = recover(copy.path(), &options);
        let expected = if cut < BLOCK { 0 } else { cut };
        assert!(is_refused_at(&outcome, &path, copy.path(), |at| at == expected), "cut at {cut}: {outcome:?}");
    }
}

#[test]
fn a_lost_tail_yields_the_prefix_before_it() {
    let mut rng = Rng::new(0x5eed_0003);
    let (original, options) = (temp_dir(), LogOptions::small());
    let entries = written(original.path(), &options, &mut rng, false);
    let (path, end) = tail(original.path());
    let (mut shortest, mut longest) = (usize::MAX, 0);
    for _ in 0..200 {
        let copy = temp_dir();
        copy_dir(original.path(), copy.path());
        let cut = BLOCK + rng.below(end - BLOCK);
        zero_from(&copy.path().join(path.file_name().expect("a name")), cut);
        let recovered = recover(copy.path(), &options).expect("what is gone behind the last claim was never claimed");
        let length = prefix_length(&recovered, &entries);
        (shortest, longest) = (shortest.min(length), longest.max(length));
        let again = recover(copy.path(), &options).expect("the cut log opens again");
        assert_eq!(again.groups, recovered.groups);
    }
    assert!(shortest < longest && longest < entries.len() && shortest > 0, "{shortest}..{longest}");
}

#[test]
fn a_flipped_byte_is_refused_in_a_claimed_batch_and_cut_in_the_last() {
    let mut rng = Rng::new(0x5eed_0004);
    let (original, options) = (temp_dir(), LogOptions::small());
    let entries = written(original.path(), &options, &mut rng, false);
    let (last_path, _) = tail(original.path());
    let names = segments(original.path());
    let (mut refused, mut cut, mut harmless) = (0, 0, 0);
    for _ in 0..400 {
        let copy = temp_dir();
        copy_dir(original.path(), copy.path());
        let name = names[rng.below(names.len() as u64) as usize].file_name().expect("a name");
        let path = copy.path().join(name);
        let offset = rng.below(options.segment_bytes);
        flip(&path, offset, 1 << rng.below(8));
        let outcome = recover(copy.path(), &options);
        match &outcome {
            Ok(recovered) => match prefix_length(recovered, &entries) {
                60 => harmless += 1,
                length => {
                    // Only the last batch is claimed by nobody.
                    assert_eq!((length, Some(name)), (59, last_path.file_name()), "offset {offset}");
                    cut += 1;
                }
            },
            Err(_) => {
                let names_it = |at| at <= offset && (at > 0 || offset < BLOCK);
                assert!(is_refused_at(&outcome, &path, copy.path(), names_it), "{name:?} {offset}: {outcome:?}");
                refused += 1;
            }
        }
    }
    // Padding and what lies behind the end may be flipped without harm.
    assert!(refused > 100 && harmless > 10, "{refused} refused, {cut} cut, {harmless} harmless");
}

#[test]
fn every_byte_of_a_sealed_batch_counts() {
    let mut rng = Rng::new(0x5eed_0005);
    let (original, options) = (temp_dir(), LogOptions::small());
    let payload: Vec<u8> = (0..200).map(|_| rng.next() as u8).collect();
    let appends = [(1, entry(1, "first")), (1, entry(2, &payload))];
    write_log(original.path(), &options, &appends, true);
    let path = &segments(original.path())[0];
    let bytes = fs::read(path).expect("the segment can be read");
    // The opening batch, entry 1, then entry 2: header, record header, meta, payload.
    let start = 3 * BLOCK;
    let len = 64 + 20 + 16 + payload.len() as u64;
    assert_eq!(bytes[start as usize..start as usize + 4], *b"KWB1");
    for offset in start..start + len {
        let copy = temp_dir();
        copy_dir(original.path(), copy.path());
        let path = copy.path().join(path.file_name().expect("a name"));
        flip(&path, offset, 1 << rng.below(8));
        let outcome = recover(copy.path(), &options);
        assert!(is_refused_at(&outcome, &path, copy.path(), |at| at == start), "byte {offset}: {outcome:?}");
    }
}

#[test]
fn a_missing_segment_is_refused_by_name() {
    let mut rng = Rng::new(0x5eed_0006);
    let (original, options) = (temp_dir(), LogOptions::small());
    written(original.path(), &options, &mut rng, true);
    let (last, _) = tail(original.path());
    for path in segments(original.path()).iter().filter(|path| **path < last) {
        let copy = temp_dir();
        copy_dir(original.path(), copy.path());
        let path = copy.path().join(path.file_name().expect("a name"));
        fs::remove_file(&path).expect("the segment is removed");
        let outcome = recover(copy.path(), &options);
        assert!(is_refused_at(&outcome, &path, copy.path(), |at| at == 0), "{path:?}: {outcome:?}");
        assert_eq!(segments(copy.path()).len() + 1, segments(original.path()).len(), "a refusal changes nothing");
    }
}

#[test]
fn a_missing_tail_is_refused_where_a_segment_was_prepared_behind_it() {
    let (dir, ring, options) = (temp_dir(), disk(), LogOptions::small());
    let (log, _) = open(&ring, &ring, dir.path(), &options).expect("a new log");
    block_on(
        &ring,
        beside(&log, async {
            // What the tail holds is claimed by itself alone.
            while log.stats().tail_segment < 3 {
                let index = log.stats().records + 1;
                log.append_durable(1, [entry(index, vec![1; 3000])]).await.expect("the append succeeds");
            }
            while !segment_path(dir.path(), 4).exists() {
                yield_once().await;
            }
        }),
    );
    drop(log);
    let missing = segment_path(dir.path(), 3);
    fs::remove_file(&missing).expect("the segment is removed");
    for _ in 0..2 {
        let outcome = recover(dir.path(), &options);
        assert!(is_refused_at(&outcome, &missing, dir.path(), |at| at == 0), "{outcome:?}");
    }
    // Without the prepared one it cannot be told from a tail that was never begun.
    fs::remove_file(segment_path(dir.path(), 4)).expect("the segment is removed");
    recover(dir.path(), &options).expect("the log seems to end in segment 2");
}

#[test]
fn a_cut_tail_never_comes_back() {
    let mut rng = Rng::new(0x5eed_0007);
    let options = LogOptions::small();
    for _ in 0..20 {
        let dir = temp_dir();
        let mut expected = written(dir.path(), &options, &mut rng, false);
        let (path, end) = tail(dir.path());
        let bytes = fs::read(&path).expect("the segment can be read");
        let starts = (BLOCK..end).step_by(BLOCK as usize);
        let last_batch = starts.filter(|&at| bytes[at as usize..at as usize + 4] == *b"KWB1").max();
        flip(&path, last_batch.expect("the tail has a batch") + 64 + rng.below(30), 0xff);
        let cut = recover(dir.path(), &options).expect("the last batch is unclaimed");
        assert!(cut.report.torn);
        expected.truncate(59);
        assert_eq!(prefix_length(&cut, &expected), 59);
        // The opening above wrote one block over the cut batch; more, or nothing, follows, and the process dies.
        let new: Vec<(u32, Record)> = (60..60 + rng.below(4)).map(|index| (1, entry(index, "new"))).collect();
        write_log(dir.path(), &options, &new, false);
        expected.extend(new.iter().map(|(_, record)| record.clone()));
        for _ in 0..2 {
            let recovered = recover(dir.path(), &options).expect("the log opens");
            assert_eq!(prefix_length(&recovered, &expected), expected.len());
        }
    }
}
