//! No group can keep the log long: what lives on in old segments is copied behind the tail, and nothing else changes.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use common::memory::{MemoryDisk, spin};
use common::model::{apply, random_record};
use common::{IDENTITY, Rng, beside, entry, yield_once};
use kahuna_wal::{GroupLog, Log, LogOpenError, LogOptions, LogStats, Record, Recovered};

type Groups = BTreeMap<u32, GroupLog>;

const SLOW: u32 = 9;

fn options() -> LogOptions {
    LogOptions { segment_bytes: 32 << 10, max_batch_bytes: 8 << 10, ..LogOptions::small() }
}

fn open(disk: &MemoryDisk) -> Result<(Log<MemoryDisk>, Recovered), LogOpenError> {
    spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, options()))
}

fn purge(upto: u64) -> Record {
    Record::Purge { upto, log_id: Bytes::from_static(b"id") }
}

async fn append(log: &Log<MemoryDisk>, model: &mut Groups, group: u32, record: Record) {
    apply(model, group, &record);
    log.append_durable(group, [record]).await.expect("the append succeeds");
}

/// Entries `from..=upto` of group 1, which keeps ten.
async fn churn(log: &Log<MemoryDisk>, model: &mut Groups, from: u64, upto: u64) {
    for index in from..=upto {
        append(log, model, 1, entry(index, vec![index as u8; 2000])).await;
        if index.is_multiple_of(10) && index > 20 {
            append(log, model, 1, purge(index - 10)).await;
        }
        check_bound(&log.stats());
    }
}

/// The bound that SPACE.md states.
fn check_bound(stats: &LogStats) {
    let bound = options().max_live_multiple * stats.live_bytes + options().slack_segments * options().segment_bytes;
    assert!(stats.segments * options().segment_bytes <= bound, "{stats:?}");
}

#[test]
fn a_group_that_never_purges_cannot_keep_the_log_long() {
    let disk = MemoryDisk::default();
    let mut model = Groups::new();
    for life in 0..4 {
        let (log, recovered) = open(&disk).expect("the log opens");
        assert_eq!(recovered.groups, model);
        spin(beside(&log, async {
            for round in 0..20 {
                append(&log, &mut model, SLOW, entry(20 * life + round + 1, [life as u8; 100])).await;
                let from = 1000 * life + 50 * round;
                churn(&log, &mut model, from + 1, from + 50).await;
            }
        }));
        let stats = log.stats();
        assert!(stats.moved > 20 * life && stats.released > 50, "{stats:?}");
    }
    let (log, recovered) = open(&disk).expect("the log opens");
    assert_eq!(recovered.groups, model);
    assert_eq!(recovered.groups[&SLOW].entries.len(), 80);
    let (_, oldest) = log.pinned().into_iter().find(|(group, _)| *group == SLOW).expect("it has entries");
    assert!(oldest > 100, "they stand in young segments: {oldest}");
}

#[test]
fn of_two_entries_of_one_index_in_a_batch_the_last_moves() {
    let disk = MemoryDisk::default();
    let (log, _) = open(&disk).expect("the log opens");
    let mut model = Groups::new();
    spin(beside(&log, async {
        let both = [entry(1, "superseded"), entry(1, "live")];
        both.iter().for_each(|record| apply(&mut model, SLOW, record));
        log.append_durable(SLOW, both).await.expect("the append succeeds");
        churn(&log, &mut model, 1, 200).await;
    }));
    assert!(log.stats().moved > 1, "{:?}", log.stats());
    drop(log);
    assert_eq!(open(&disk).expect("the log opens").1.groups, model);
}

/// Appends a record, and looks at every state that a process dying meanwhile could leave behind: each holds what was there
/// before the record, or with it. Returns how many states there were.
async fn append_watched(
    log: &Log<MemoryDisk>,
    disk: &MemoryDisk,
    model: &mut Groups,
    group: u32,
    record: Record,
) -> usize {
    let before = model.clone();
    drop(disk.take_history());
    append(log, model, group, record).await;
    for _ in 0..4 {
        yield_once().await;
    }
    let history = disk.take_history();
    let states = history.len();
    for files in history {
        let (_, recovered) = open(&MemoryDisk::holding(files)).expect("whole at every step");
        let known = recovered.groups == before || recovered.groups == *model;
        assert!(known, "{:#?}\nis neither {before:#?}\nnor {model:#?}", recovered.groups);
    }
    states
}

#[test]
fn whatever_is_appended_while_entries_move_any_death_loses_nothing() {
    let mut rng = Rng::new(0x5eed_0b0b);
    let disk = MemoryDisk::default();
    let (log, _) = open(&disk).expect("the log opens");
    let mut model = Groups::new();
    let mut states = 0;
    spin(beside(&log, async {
        while log.stats().moved < 1_000 {
            // Three groups do anything; their entries stay long enough to be copied.
            let group = rng.below(3) as u32 + 2;
            let mut record = random_record(&mut rng, model.get(&group));
            if matches!(record, Record::Purge { .. } | Record::GroupDestroyed) && rng.below(4) > 0 {
                record = Record::Vote(Bytes::from_static(b"instead"));
            }
            states += append_watched(&log, &disk, &mut model, group, record).await;
            if rng.below(3) == 0 {
                let last = model.get(&1).and_then(GroupLog::last_index).unwrap_or(0);
                states += append_watched(&log, &disk, &mut model, 1, entry(last + 1, vec![last as u8; 3000])).await;
                if last > 5 {
                    states += append_watched(&log, &disk, &mut model, 1, purge(last - 3)).await;
                }
            }
        }
    }));
    let stats = log.stats();
    assert!(states > 1_000 && stats.released > 100, "{states} states, {stats:?}");
    drop(log);
    assert_eq!(open(&disk).expect("the log opens").1.groups, model);
}

/// Rewrites the format version in a segment's header.
fn set_version(header: &mut [u8], version: u32) {
    header[8..12].copy_from_slice(&version.to_le_bytes());
    let crc = crc32fast::hash(&header[..4092]);
    header[4092..4096].copy_from_slice(&crc.to_le_bytes());
}

fn version(disk: &MemoryDisk, segment: u64) -> u8 {
    let mut found = 0;
    disk.damage(&format!("{segment:020}.seg"), |bytes| found = bytes[8]);
    found
}

#[test]
fn a_log_of_version_1_is_read_and_goes_on_in_version_2() {
    let disk = MemoryDisk::default();
    let (log, _) = open(&disk).expect("the log opens");
    let mut model = Groups::new();
    spin(beside(&log, async {
        append(&log, &mut model, SLOW, entry(1, "slow")).await;
        churn(&log, &mut model, 1, 24).await;
    }));
    let tail = log.stats().tail_segment;
    assert!(log.stats().moved == 0 && tail > 2, "{:?}", log.stats());
    drop(log);
    for name in disk.names().iter().filter(|name| name.ends_with(".seg")) {
        disk.damage(name, |bytes| set_version(bytes, 1));
    }
    let (log, recovered) = open(&disk).expect("the log opens");
    assert_eq!(recovered.groups, model);
    spin(beside(&log, churn(&log, &mut model, 25, 200)));
    assert!(log.stats().moved > 0, "{:?}", log.stats());
    let newest = log.stats().tail_segment;
    drop(log);
    assert_eq!(version(&disk, newest), 2);
    assert_eq!(open(&disk).expect("the log opens").1.groups, model);
}

#[test]
fn a_copy_in_a_segment_of_version_1_is_damage() {
    let disk = MemoryDisk::default();
    let (log, _) = open(&disk).expect("the log opens");
    let mut model = Groups::new();
    spin(beside(&log, async {
        append(&log, &mut model, SLOW, entry(1, "slow")).await;
        churn(&log, &mut model, 1, 200).await;
    }));
    let (_, segment) = log.pinned().into_iter().find(|(group, _)| *group == SLOW).expect("it has an entry");
    assert!(log.stats().moved > 0 && segment > 1, "{:?}", log.stats());
    drop(log);
    let name = format!("{segment:020}.seg");
    disk.damage(&name, |bytes| set_version(bytes, 1));
    let refused = open(&disk).map(drop).expect_err("version 1 has no copies");
    assert!(
        matches!(&refused, LogOpenError::Corrupt { file, why, .. } if file.ends_with(&name) && why.contains("version")),
        "{refused}"
    );
}

#[test]
fn damage_to_what_has_to_move_poisons_the_log_and_is_named() {
    let marker = b"the slow group's one entry";
    for what in ["records", "batch header", "segment header"] {
        let disk = MemoryDisk::default();
        let (log, _) = open(&disk).expect("the log opens");
        let mut offset = 0;
        let failed = spin(beside(&log, async {
            log.append_durable(SLOW, [entry(1, marker)]).await.expect("the append succeeds");
            disk.damage("00000000000000000001.seg", |bytes| {
                let at = bytes.windows(marker.len()).position(|window| window == marker).expect("it is there");
                let batch = at / 4096 * 4096;
                let (damaged, named) = match what {
                    "records" => (at, batch),
                    "batch header" => (batch + 8, batch),
                    _ => (60, 0),
                };
                bytes[damaged] ^= 1;
                offset = named;
            });
            for index in 1..10_000 {
                log.append_lazily(1, [purge(index - 1)]);
                if let Err(error) = log.append_durable(1, [entry(index, vec![1; 2000])]).await {
                    return error;
                }
            }
            panic!("the entry was never moved");
        }));
        assert_eq!(
            failed.to_string(),
            format!("move entries of /log/00000000000000000001.seg: what was durable is damaged at offset {offset}"),
            "{what}"
        );
        assert!(log.failure().is_some());
    }
}

#[test]
fn an_entry_of_a_full_disk_moves_only_where_that_gives_room() {
    let disk = MemoryDisk::default();
    let (log, _) = open(&disk).expect("the log opens");
    let mut model = Groups::new();
    spin(beside(&log, async {
        append(&log, &mut model, SLOW, entry(1, "slow")).await;
        churn(&log, &mut model, 1, 60).await;
        disk.set_capacity(disk.used());
        // The slow entry costs less than its segment gives back: the log lives on what it has.
        churn(&log, &mut model, 61, 2_000).await;
    }));
    assert!(log.stats().moved > 10, "{:?}", log.stats());
    drop(log);
    assert_eq!(open(&disk).expect("the log opens").1.groups, model);
}

/// Entries of many batches in the oldest segments, and a log that only a later opening finds too long.
fn too_long(disk: &MemoryDisk, options: &LogOptions, model: &mut Groups, slow: u64) {
    let patient = LogOptions { max_live_multiple: u64::MAX, ..options.clone() };
    let (log, _) = spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, patient)).expect("the log opens");
    spin(beside(&log, async {
        for index in 1..=slow {
            append(&log, model, SLOW, entry(index, [9; 3000])).await;
        }
        let long = usize::try_from(options.segment_bytes / 2).expect("a segment fits in memory");
        for index in 1..=40 {
            append(&log, model, 1, entry(index, vec![index as u8; long])).await;
        }
        append(&log, model, 1, purge(40)).await;
    }));
    assert_eq!(log.stats().moved, 0);
}

#[test]
fn a_log_that_is_too_long_closes_at_once() {
    let disk = MemoryDisk::default();
    let mut model = Groups::new();
    too_long(&disk, &options(), &mut model, 20);
    let (log, _) = open(&disk).expect("the log opens");
    log.close();
    spin(log.run()).expect("the log closes");
    assert_eq!(log.stats().moved, 0, "nothing is copied any more");
    drop(log);
    assert_eq!(open(&disk).expect("the log opens").1.groups, model);
}

#[test]
fn entries_of_a_tail_of_version_1_move_into_segments_of_version_2() {
    let disk = MemoryDisk::default();
    let mut model = Groups::new();
    too_long(&disk, &options(), &mut model, 20);
    for name in disk.names().iter().filter(|name| name.ends_with(".seg")) {
        disk.damage(name, |bytes| set_version(bytes, 1));
    }
    let (log, _) = open(&disk).expect("the log opens");
    let tail = log.stats().tail_segment;
    spin(beside(&log, async {
        for _ in 0..20 {
            yield_once().await;
        }
        assert_eq!((log.stats().moved, version(&disk, tail)), (0, 1), "the tail takes no copies");
        churn_to(&log, &mut model, tail + 8).await;
    }));
    assert!(log.stats().moved >= 20, "{:?}", log.stats());
    drop(log);
    assert_eq!(open(&disk).expect("no copy stands in a segment of version 1").1.groups, model);
}

/// Entries of group 1, of which none stays, until the log writes to segment `tail`.
async fn churn_to(log: &Log<MemoryDisk>, model: &mut Groups, tail: u64) {
    while log.stats().tail_segment < tail {
        let index = model[&1].last_index().map_or(1, |last| last + 1);
        append(log, model, 1, entry(index, [1; 6000])).await;
        append(log, model, 1, purge(index)).await;
    }
}

#[test]
fn a_turn_copies_a_share_of_what_is_appended_and_waits_until_it_is_durable() {
    const ENTRY: u64 = 3036;
    let options = LogOptions { segment_bytes: 1 << 20, max_batch_bytes: 128 << 10, ..LogOptions::small() };
    for (appended, least, most) in
        [(0, 60 << 10, 72 << 10), (24 << 10, 92 << 10, 136 << 10), (90 << 10, 124 << 10, 136 << 10)]
    {
        let disk = MemoryDisk::default();
        let mut model = Groups::new();
        too_long(&disk, &options, &mut model, 240);
        let opened = spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, options.clone()));
        let (log, _) = opened.expect("the log opens");
        let mut turns = Vec::new();
        spin(beside(&log, async {
            let mut moved = 0;
            let mut index = 40;
            for _ in 0..200 {
                yield_once().await;
                let stats = log.stats();
                if stats.moved > moved {
                    turns.push((stats.moved - moved) * ENTRY);
                    assert!(stats.queued_bytes >= turns[turns.len() - 1], "they are not durable yet");
                    moved = stats.moved;
                    index += 1;
                    if appended > 0 {
                        log.append_lazily(1, [entry(index, vec![1; appended]), purge(index)]);
                    }
                }
            }
        }));
        assert_eq!(turns.iter().sum::<u64>(), 240 * ENTRY, "all was moved, once: {turns:?}");
        let longest = *turns.iter().max().expect("there are turns");
        assert!((least..most).contains(&longest), "{appended} appended meanwhile: {turns:?}");
    }
}

#[test]
fn an_entry_longer_than_segments_are_now_stays_where_it_is() {
    let small = LogOptions { segment_bytes: 32 << 10, ..options() };
    let longest = small.max_record_bytes() - 36;
    for (bytes, moves) in [(longest, true), (longest + 1, false)] {
        let disk = MemoryDisk::default();
        let mut model = Groups::new();
        let large = LogOptions { segment_bytes: 64 << 10, max_live_multiple: u64::MAX, ..options() };
        let (log, _) = spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, large)).expect("the log opens");
        spin(beside(&log, append(&log, &mut model, SLOW, entry(1, vec![9; bytes]))));
        drop(log);
        let (log, _) = open(&disk).expect("the log opens");
        spin(beside(&log, async {
            append(&log, &mut model, 1, entry(1, "first")).await;
            churn_to(&log, &mut model, 30).await;
        }));
        assert!(log.failure().is_none());
        let (_, segment) = log.pinned().into_iter().find(|(group, _)| *group == SLOW).expect("it lives");
        assert_eq!((log.stats().moved > 0, segment > 1), (moves, moves), "{bytes} bytes");
        drop(log);
        assert_eq!(open(&disk).expect("the log opens").1.groups, model);
    }
}
