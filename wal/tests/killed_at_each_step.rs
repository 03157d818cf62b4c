//! Whatever the step at which a process dies, the last write torn by sectors: the next opening finds every acknowledged
//! record, at most what was on its way beyond, and goes on.

mod common;

use bytes::Bytes;
use common::dying::DyingDisk;
use common::{Rng, beside, disk, entry, open, recover, temp_dir};
use kahuna_wal::{LogOptions, Record, Recovered, block_on};

/// What must be there after a death.
#[derive(Default)]
struct Acknowledged {
    last_index: u64,
    purged: u64,
    votes: u64,
}

/// Longer than a sector, so that it can be torn apart from the header of its batch.
fn vote(number: u64) -> Record {
    let mut bytes = vec![number as u8; 3000];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Record::Vote(Bytes::from(bytes))
}

fn number(bytes: Option<&Bytes>) -> u64 {
    bytes.map_or(0, |bytes| u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")))
}

/// Opens on a disk that dies after `steps` and churns until it does: entries, purges, an occasional vote of group 2.
fn live_and_die(dir: &std::path::Path, steps: u64, acknowledged: &mut Acknowledged) {
    let ring = disk();
    let dying = DyingDisk::new(&ring, steps, Rng::new(steps));
    let Ok((log, recovered)) = open(&ring, &dying, dir, &LogOptions::small()) else { return };
    check(&recovered, acknowledged);
    let group = recovered.groups.get(&1);
    let mut index = group.and_then(|group| group.last_index()).unwrap_or(0);
    acknowledged.last_index = index;
    acknowledged.purged = group.and_then(|group| group.purged.as_ref()).map_or(0, |(upto, _)| *upto);
    acknowledged.votes = number(recovered.groups.get(&2).and_then(|group| group.vote.as_ref()));
    block_on(
        &ring,
        beside(&log, async {
            loop {
                index += 1;
                let payload = vec![index as u8; 5000];
                if log.append_durable(1, [entry(index, payload)]).await.is_err() {
                    return;
                }
                acknowledged.last_index = index;
                if index.is_multiple_of(10) {
                    let purge = Record::Purge { upto: index - 5, log_id: Bytes::new() };
                    if log.append_durable(1, [purge]).await.is_err() {
                        return;
                    }
                    acknowledged.purged = index - 5;
                }
                if index.is_multiple_of(16) {
                    let next = acknowledged.votes + 1;
                    if log.append_durable(2, [vote(next)]).await.is_err() {
                        return;
                    }
                    acknowledged.votes = next;
                }
            }
        }),
    );
}

fn check(recovered: &Recovered, acknowledged: &Acknowledged) {
    let votes = number(recovered.groups.get(&2).and_then(|group| group.vote.as_ref()));
    assert!(votes == acknowledged.votes || votes == acknowledged.votes + 1, "vote {votes}");
    let Some(group) = recovered.groups.get(&1) else {
        assert_eq!(acknowledged.last_index, 0);
        return;
    };
    let last = group.last_index().unwrap_or(0);
    assert!(last == acknowledged.last_index || last == acknowledged.last_index + 1, "last index {last}");
    let purged = group.purged.as_ref().map_or(0, |(upto, _)| *upto);
    assert!(purged >= acknowledged.purged);
    let expected: Vec<Record> = (purged + 1..=last).map(|index| entry(index, vec![index as u8; 5000])).collect();
    let back: Vec<Record> = group
        .entries
        .iter()
        .map(|entry| Record::Entry { index: entry.index, meta: entry.meta, payload: entry.payload.clone() })
        .collect();
    assert!(back == expected, "entries {}..={last} are as they were", purged + 1);
}

#[test]
fn a_new_log_may_die_at_each_of_its_first_steps() {
    for steps in (0..40).chain((40..150).step_by(7)) {
        let dir = temp_dir();
        let mut acknowledged = Acknowledged::default();
        live_and_die(&dir.path().join("log"), steps, &mut acknowledged);
        check(&recover(&dir.path().join("log"), &LogOptions::small()).expect("the log opens"), &acknowledged);
    }
}

#[test]
fn a_long_life_of_many_deaths() {
    let mut rng = Rng::new(0x5eed_0028);
    let dir = temp_dir();
    let mut acknowledged = Acknowledged::default();
    let mut deaths_in_opening = 0;
    for _ in 0..150 {
        let before = acknowledged.last_index;
        let steps = if rng.below(3) == 0 { rng.below(12) } else { rng.below(80) };
        live_and_die(dir.path(), steps, &mut acknowledged);
        deaths_in_opening += u64::from(before == acknowledged.last_index);
    }
    let recovered = recover(dir.path(), &LogOptions::small()).expect("the log opens");
    check(&recovered, &acknowledged);
    assert!(acknowledged.votes > 10 && acknowledged.purged > 500, "the log lived long");
    assert!(deaths_in_opening > 10, "and died young, too");
    let files = std::fs::read_dir(dir.path()).expect("the directory can be read").count();
    assert!(files < 12, "nothing is left behind: {files} files");
}
