//! What is kept of a damaged log: never a wrong record, all that stands before the damage, and a report of the rest.

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use common::faulty::{Fault, FaultyDisk, Op};
use common::memory::spin;
use common::{IDENTITY, Rng, beside, copy_dir, disk, entry, recover, segments, temp_dir, write_log};
use kahuna_wal::recovery::{Salvaged, salvage};
use kahuna_wal::{BLOCK_BYTES, Log, LogEntry, LogIdentity, LogOpenError, LogOptions, Record, UringDisk, block_on};

const ENTRIES: u64 = 60;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// Several small segments: group 1 with entries of many lengths, group 2 with a vote now and then. Group 1's entries.
fn written(dir: &Path, rng: &mut Rng, sealed: bool) -> Vec<Record> {
    let entries: Vec<Record> =
        (1..=ENTRIES).map(|index| entry(index, vec![index as u8; rng.below(9000) as usize])).collect();
    let mut appends = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        appends.push((1, entry.clone()));
        if at % 5 == 0 {
            appends.push((2, Record::Vote(format!("vote {at}").into())));
        }
    }
    write_log(dir, &LogOptions::small(), &appends, sealed);
    assert!(segments(dir).len() > 3, "the log has several segments");
    entries
}

fn salvaged(dir: &Path) -> Result<Salvaged, LogOpenError> {
    salvaged_as(dir, IDENTITY)
}

fn salvaged_as(dir: &Path, identity: LogIdentity) -> Result<Salvaged, LogOpenError> {
    let ring = disk();
    block_on(&ring, Log::<UringDisk>::salvage(&ring, dir, identity))
}

fn images(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> =
        fs::read_dir(dir).expect("a directory").map(|file| file.expect("an entry").path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(&path).expect("it can be read"))).collect()
}

fn number(path: &Path) -> u64 {
    path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok()).expect("a segment's name")
}

/// How many of group 1's entries were kept; panics when they are no prefix of what was written.
fn kept(salvaged: &Salvaged, entries: &[Record]) -> usize {
    let Some(group) = salvaged.groups.get(&1) else { return 0 };
    let as_record =
        |entry: &LogEntry| Record::Entry { index: entry.index, meta: entry.meta, payload: entry.payload.clone() };
    let back: Vec<Record> = group.entries.iter().map(as_record).collect();
    assert!(entries.starts_with(&back), "{} entries came back, not a prefix", back.len());
    back.len()
}

fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the segment opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("the byte is there");
    file.write_all_at(&[byte[0] ^ 0x41], offset).expect("the byte is written");
}

fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = temp_dir();
    copy_dir(dir, copy.path());
    copy
}

#[test]
fn a_whole_log_is_kept_as_recovery_reads_it() {
    let mut rng = Rng::new(0x5a17_0001);
    for round in 0..12 {
        let dir = temp_dir();
        let entries = written(dir.path(), &mut rng, round % 2 == 0);
        if round % 3 == 0 {
            // The last batch torn, where nobody claims it.
            let last = segments(dir.path()).into_iter().rev().find_map(|path| {
                let bytes = fs::read(&path).expect("the segment can be read");
                let at = bytes.iter().rposition(|&byte| byte != 0).expect("a header at least");
                (at as u64 >= BLOCK).then_some((path, at as u64))
            });
            let (path, at) = last.expect("a segment has batches");
            flip(&path, at);
        }
        let before = images(dir.path());
        let salvaged = salvaged(dir.path()).expect("it can be read");
        assert!(images(dir.path()) == before, "nothing on disk changes");
        match recover(dir.path(), &LogOptions::small()) {
            Ok(recovered) => {
                assert_eq!(salvaged.damage, None, "round {round}");
                assert_eq!(salvaged.groups, recovered.groups, "round {round}");
                assert_eq!(salvaged.end.position, recovered.report.end, "round {round}");
                assert_eq!(salvaged.end.batches, recovered.report.batches, "round {round}");
                assert_eq!(salvaged.end.torn, recovered.report.torn, "round {round}");
                assert_eq!(salvaged.beyond.records, 0, "round {round}");
            }
            Err(LogOpenError::Corrupt { offset, .. }) => {
                assert_eq!(salvaged.damage.as_ref().map(|damage| damage.at.offset), Some(offset), "round {round}");
                assert!(kept(&salvaged, &entries) >= entries.len() - 1);
            }
            Err(error) => panic!("round {round}: {error}"),
        }
    }
}

#[test]
fn any_flipped_byte_costs_only_what_stands_behind_it() {
    let mut rng = Rng::new(0x5a17_0002);
    let original = temp_dir();
    let entries = written(original.path(), &mut rng, true);
    let names = segments(original.path());
    let (mut damaged, mut shortest, mut longest) = (0, usize::MAX, 0);
    for _ in 0..300 {
        let copy = copy_of(original.path());
        let path = copy.path().join(names[rng.below(names.len() as u64) as usize].file_name().expect("a name"));
        let offset = rng.below(LogOptions::small().segment_bytes);
        flip(&path, offset);
        let salvaged = salvaged(copy.path()).expect("it can be read");
        let count = kept(&salvaged, &entries);
        match recover(copy.path(), &LogOptions::small()) {
            Ok(recovered) => {
                assert_eq!((salvaged.damage, salvaged.groups), (None, recovered.groups), "{path:?} {offset}");
            }
            Err(LogOpenError::Corrupt { file, offset: at, .. }) => {
                let damage = salvaged.damage.expect("recovery refuses it");
                assert_eq!(
                    (Log::<UringDisk>::segment_file(copy.path(), damage.at.segment), damage.at.offset),
                    (file, at)
                );
                damaged += 1;
                (shortest, longest) = (shortest.min(count), longest.max(count));
                // What is not kept is seen, except for the batch that is damaged, or what its segment held.
                let seen = salvaged.beyond.groups.get(&1).map_or(0, |group| group.records);
                let whole_segment = at == 0;
                assert!(
                    whole_segment || count as u64 + seen + 1 >= ENTRIES,
                    "{count} kept, {seen} seen: {path:?} {offset}"
                );
                if seen > 0 {
                    assert_eq!(salvaged.beyond.groups[&1].index, Some(ENTRIES));
                }
                assert!(salvaged.durable > salvaged.end.position || whole_segment);
            }
            Err(error) => panic!("{path:?} {offset}: {error}"),
        }
    }
    assert!(damaged > 100 && shortest < 10 && longest > 40, "{damaged} damaged, {shortest}..{longest} kept");
}

#[test]
fn lost_headers_files_and_ends_of_files_are_named() {
    let mut rng = Rng::new(0x5a17_0103);
    let original = temp_dir();
    let entries = written(original.path(), &mut rng, true);
    let whole = salvaged(original.path()).expect("it can be read");
    assert_eq!((kept(&whole, &entries), &whole.damage), (entries.len(), &None));
    let with_batches = segments(original.path()).into_iter().filter(|path| number(path) <= whole.end.position.segment);
    for (at, path) in with_batches.enumerate() {
        let name = path.file_name().expect("a name");
        for kind in ["header", "gone", "short", "empty"] {
            if kind == "gone" && number(&path) == whole.end.position.segment {
                // Its own batches were the only ones that said it was there.
                continue;
            }
            let copy = copy_of(original.path());
            let path = copy.path().join(name);
            let cut = |len| OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(len));
            match kind {
                "header" => flip(&path, 100),
                "gone" => fs::remove_file(&path).expect("it is there"),
                "short" => cut(3 * BLOCK).expect("it is cut"),
                _ => cut(0).expect("it is cut"),
            }
            let salvaged = salvaged(copy.path()).expect("it can be read");
            let damage = salvaged.damage.clone().unwrap_or_else(|| panic!("{kind} {name:?}: no damage"));
            assert_eq!(damage.at.segment, number(&path), "{kind}: {damage:?}");
            match kind {
                "short" => assert!((BLOCK..=3 * BLOCK).contains(&damage.at.offset), "{damage:?}"),
                _ => assert_eq!(damage.at.offset, 0, "{kind}: {damage:?}"),
            }
            let behind = at as u64 + 1 < whole.end.position.segment;
            if at == 0 && kind == "gone" {
                // The log then seems to begin later; what it holds is no prefix, and its entries show where they begin.
                let first = salvaged.groups[&1].entries.front().expect("there are later entries");
                assert!(first.index > 1);
            } else {
                assert!(kept(&salvaged, &entries) < entries.len(), "{kind} {name:?}");
                assert_eq!(salvaged.beyond.records > 0, behind, "{kind} {name:?}");
            }
        }
    }
}

#[test]
fn nothing_and_the_logs_of_others_are_refused() {
    let dir = temp_dir();
    assert!(matches!(salvaged(dir.path()), Err(LogOpenError::Missing { .. })));
    assert!(matches!(salvaged(&dir.path().join("none")), Err(LogOpenError::Missing { .. })));
    write_log(dir.path(), &LogOptions::small(), &[(1, entry(1, "x"))], true);
    let other = LogIdentity { shard: 9, ..IDENTITY };
    assert!(matches!(salvaged_as(dir.path(), other), Err(LogOpenError::Foreign { .. })));
}

#[test]
fn no_bytes_make_it_panic() {
    let mut rng = Rng::new(0x5a17_0004);
    let dir = temp_dir();
    written(dir.path(), &mut rng, true);
    let images: Vec<(u64, Vec<u8>)> =
        segments(dir.path()).iter().map(|path| (number(path), fs::read(path).expect("it can be read"))).collect();
    for _ in 0..200 {
        let mut garbled = images.clone();
        for _ in 0..=rng.below(6) {
            let at = rng.below(garbled.len() as u64) as usize;
            let bytes = &mut garbled[at].1;
            match rng.below(4) {
                0 => bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize),
                1 => drop(garbled.remove(at)),
                2 => garbled[at].0 = rng.below(12),
                _ if bytes.is_empty() => {}
                _ => {
                    let offset = rng.below(bytes.len() as u64) as usize;
                    bytes[offset] ^= 1 << rng.below(8);
                }
            }
            if garbled.is_empty() {
                break;
            }
        }
        garbled.sort_by_key(|(segment, _)| *segment);
        let borrowed: Vec<(u64, &[u8])> = garbled.iter().map(|(segment, bytes)| (*segment, &bytes[..])).collect();
        let kept = salvage(&IDENTITY, &borrowed).expect("not all are another log's");
        assert!(kept.groups.values().all(|group| group.entries.len() <= ENTRIES as usize));
    }
}

#[test]
fn a_segment_that_cannot_be_read_at_once_is_read_in_pieces() {
    let disk = FaultyDisk::new(0x5a17_0005);
    // The last piece is shorter than the others.
    let options = LogOptions { segment_bytes: (192 << 10) + BLOCK, ..LogOptions::small() };
    let opened = spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, options));
    let (log, _) = opened.expect("the log opens");
    spin(beside(&log, async {
        for index in 1..=60 {
            log.append_durable(1, [entry(index, [index as u8; 9000])]).await.expect("the append succeeds");
        }
    }));
    drop(log);
    let files = disk.files();
    let salvaged = |at: Option<u64>| {
        let disk = FaultyDisk::holding(&files, 0x5a17_0006);
        if let Some(at) = at {
            disk.strike(at, &[Op::Read], Fault::Fail);
        }
        let salvaged = spin(Log::<FaultyDisk>::salvage(&disk, Path::new("/log"), IDENTITY)).expect("it can be read");
        (salvaged, disk.struck())
    };
    let (whole, _) = salvaged(None);
    assert_eq!((whole.groups[&1].entries.len(), &whole.damage), (60, &None));
    let reads = (0..).find(|&at| {
        let (again, struck) = salvaged(Some(at));
        assert_eq!(again, whole, "read {at} failed, and no piece of it");
        !struck
    });
    assert!(reads > Some(4), "two passes over several segments: {reads:?}");
}
