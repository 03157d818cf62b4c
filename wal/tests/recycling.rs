//! Old segments go, what is still needed stays, and a reused file never shows what it held before.

mod common;

use std::fs;

use bytes::Bytes;
use common::{beside, close, disk, entry, open, recover, segments, temp_dir, yield_once};
use kahuna_wal::{Log, LogOptions, Record, UringDisk, block_on};

fn purge(upto: u64) -> Record {
    Record::Purge { upto, log_id: Bytes::from(format!("id {upto}")) }
}

/// Appends entries `from..=upto` of group 1, purging what is more than ten behind.
async fn churn(log: &Log<UringDisk>, from: u64, upto: u64) {
    for index in from..=upto {
        log.append_durable(1, [entry(index, vec![index as u8; 3000])]).await.expect("the append succeeds");
        if index % 20 == 0 {
            log.append_durable(1, [purge(index - 10)]).await.expect("the purge succeeds");
        }
    }
}

#[test]
fn the_log_stays_short_and_keeps_the_marks_of_an_idle_group() {
    let dir = temp_dir();
    let ring = disk();
    let options = LogOptions::small();
    let idle = |log: &Log<UringDisk>| {
        log.append_durable(
            7,
            [
                Record::GroupCreated(Bytes::from_static(b"replica 9")),
                entry(5, "old"),
                Record::Vote(Bytes::from_static(b"an old vote")),
                Record::Vote(Bytes::from_static(b"the vote")),
                Record::Committed(Bytes::from_static(b"five")),
                Record::Snapshot(Bytes::from_static(b"snap")),
                purge(5),
            ],
        )
    };
    for round in 0..3 {
        let (log, recovered) = open(&ring, &ring, dir.path(), &options).expect("the log opens");
        block_on(
            &ring,
            beside(&log, async {
                if round == 0 {
                    idle(&log).await.expect("the append succeeds");
                }
                churn(&log, round * 400 + 1, round * 400 + 400).await;
                let stats = log.stats();
                assert!(stats.tail_segment > 25 * (round + 1), "the log rolled: {stats:?}");
                assert!(stats.segments <= 4, "and stayed short: {stats:?}");
            }),
        );
        let files = fs::read_dir(dir.path()).expect("the directory can be read").count() as u64;
        assert!(files <= 8, "{files} files");
        if round > 0 {
            assert_eq!(recovered.groups[&1].last_index(), Some(round * 400));
        }
    }
    let recovered = recover(dir.path(), &options).expect("the log opens");
    let idle = &recovered.groups[&7];
    assert_eq!(idle.vote, Some(Bytes::from_static(b"the vote")));
    assert_eq!(idle.created, Some(Bytes::from_static(b"replica 9")));
    assert_eq!(idle.committed, Some(Bytes::from_static(b"five")));
    assert_eq!(idle.snapshot, Some(Bytes::from_static(b"snap")));
    assert_eq!(idle.purged, Some((5, Bytes::from_static(b"id 5"))));
    assert!(idle.entries.is_empty());
    let busy = &recovered.groups[&1];
    assert_eq!(busy.purged, Some((1190, Bytes::from_static(b"id 1190"))));
    let indices: Vec<u64> = busy.entries.iter().map(|entry| entry.index).collect();
    assert_eq!(indices, (1191..=1200).collect::<Vec<_>>());
}

#[test]
fn a_group_with_old_live_entries_is_named_and_pins_the_log() {
    let dir = temp_dir();
    let ring = disk();
    let options = LogOptions { max_live_multiple: u64::MAX, ..LogOptions::small() };
    let (log, _) = open(&ring, &ring, dir.path(), &options).expect("the log opens");
    block_on(
        &ring,
        beside(&log, async {
            log.append_durable(3, [entry(1, "slow")]).await.expect("the append succeeds");
            churn(&log, 1, 200).await;
            assert_eq!(log.release(), 1);
            assert_eq!(log.pinned().iter().find(|(group, _)| *group == 3), Some(&(3, 1)));
            let before = log.stats();
            assert!(before.segments > 10 && before.released == 0, "{before:?}");
            log.append_durable(3, [purge(1)]).await.expect("the purge succeeds");
            let oldest = log.release();
            assert!(oldest > 10);
            // Repeated marks, then the header that claims the release: both are flushed without further appends.
            while log.stats().tail_segment + 1 - log.stats().segments < oldest {
                yield_once().await;
            }
        }),
    );
    drop(log);
    let recovered = recover(dir.path(), &options).expect("the log opens");
    assert_eq!(recovered.groups[&3].purged.as_ref().map(|(upto, _)| *upto), Some(1));
    assert_eq!(recovered.groups[&1].last_index(), Some(200));
}

#[test]
fn a_destroyed_group_pins_nothing_and_stays_gone() {
    let dir = temp_dir();
    let ring = disk();
    let options = LogOptions::small();
    let (log, _) = open(&ring, &ring, dir.path(), &options).expect("the log opens");
    block_on(
        &ring,
        beside(&log, async {
            log.append_durable(3, [entry(1, "doomed"), Record::Vote(Bytes::from_static(b"v"))])
                .await
                .expect("appended");
            churn(&log, 1, 100).await;
            log.append_durable(3, [Record::GroupDestroyed]).await.expect("the append succeeds");
            churn(&log, 101, 200).await;
        }),
    );
    assert!(log.stats().segments <= 4, "{:?}", log.stats());
    drop(log);
    assert!(!recover(dir.path(), &options).expect("the log opens").groups.contains_key(&3));
}

#[test]
fn a_reused_file_never_shows_what_it_held() {
    let dir = temp_dir();
    let ring = disk();
    let options = LogOptions::small();
    let (log, _) = open(&ring, &ring, dir.path(), &options).expect("the log opens");
    block_on(&ring, beside(&log, churn(&log, 1, 300)));
    assert!(log.stats().released > 10, "{:?}", log.stats());
    drop(log);
    let stale = segments(dir.path())
        .iter()
        .map(|path| fs::read(path).expect("the segment can be read"))
        .flat_map(|bytes| bytes.chunks(4096).map(|block| block.starts_with(b"KWB1")).collect::<Vec<_>>())
        .filter(|&batch| batch)
        .count() as u64;
    let recovered = recover(dir.path(), &options).expect("the log opens");
    assert!(stale > recovered.report.batches, "the files hold {stale} batches, old ones among them");
    assert_eq!(recovered.groups[&1].last_index(), Some(300));
    assert_eq!(recovered.groups[&1].entries.len(), 10);
    // Also when the tail lies in a file whose old batches follow right behind the end.
    let (log, _) = open(&ring, &ring, dir.path(), &options).expect("the log opens");
    block_on(&ring, close(&log)).expect("the log closes");
    assert_eq!(recover(dir.path(), &options).expect("the log opens").groups, recovered.groups);
}

#[test]
fn every_opening_of_an_idle_log_keeps_it_short() {
    let dir = temp_dir();
    let ring = disk();
    let options = LogOptions::small();
    let (log, _) = open(&ring, &ring, dir.path(), &options).expect("the log opens");
    block_on(
        &ring,
        beside(&log, async {
            log.append_durable(1, [Record::Vote(Bytes::from_static(b"v"))]).await.expect("the append succeeds");
        }),
    );
    drop(log);
    for _ in 0..60 {
        let (log, recovered) = open(&ring, &ring, dir.path(), &options).expect("the log opens");
        assert_eq!(recovered.groups[&1].vote, Some(Bytes::from_static(b"v")));
        block_on(&ring, close(&log)).expect("the log closes");
        assert!(log.stats().segments <= 3, "{:?}", log.stats());
    }
}

#[test]
fn the_last_vote_of_an_idle_group_survives_every_recycling_of_its_segment() {
    let dir = temp_dir();
    let ring = disk();
    let options = LogOptions::small();
    let vote = |log: &Log<UringDisk>, text: &'static str| {
        log.append_durable(7, [Record::Vote(Bytes::from_static(text.as_bytes()))])
    };
    let mut released = 0;
    for life in 0..5 {
        let (log, recovered) = open(&ring, &ring, dir.path(), &options).expect("the log opens");
        if life > 0 {
            assert_eq!(recovered.groups[&7].vote, Some(Bytes::from_static(b"the last")), "life {life}");
        }
        block_on(
            &ring,
            beside(&log, async {
                if life == 0 {
                    vote(&log, "the first").await.expect("the append succeeds");
                    vote(&log, "the last").await.expect("the append succeeds");
                }
                churn(&log, life * 300 + 1, life * 300 + 300).await;
            }),
        );
        let stats = log.stats();
        assert!(stats.released > 3 && stats.repeated > 3, "the vote was carried on several times: {stats:?}");
        released += stats.released;
    }
    let recovered = recover(dir.path(), &options).expect("the log opens");
    assert_eq!(recovered.groups[&7].vote, Some(Bytes::from_static(b"the last")));
    assert!(recovered.report.segments < released, "no file is left that it was written to");
}
