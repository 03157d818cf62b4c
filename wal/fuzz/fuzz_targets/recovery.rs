//! Recovery over bent logs agrees with a second, plain reading of the format, to the last byte; nothing panics.
//!
//! The first byte of the input chooses between a log that the rest describes, and the rest as the files themselves.

#![no_main]

use std::collections::BTreeMap;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use kahuna_wal::inspect::{Part, Segment};
use kahuna_wal::recovery::scan;
use kahuna_wal::{GroupLog, LogEntry};
use kahuna_wal_fuzz::bytes::{BatchHeader, IDENTITY, Place, Record};
use kahuna_wal_fuzz::model::{self, Group, Log};
use kahuna_wal_fuzz::script::{Script, Segments};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else { return };
    let segments = if choice % 8 == 7 { raw(rest) } else { described(rest) };
    if let Some(segments) = segments {
        check(&segments);
    }
});

fn described(input: &[u8]) -> Option<Segments> {
    Script::arbitrary_take_rest(Unstructured::new(input)).ok().map(|script| script.segments())
}

/// The input as up to four files of one length.
fn raw(input: &[u8]) -> Option<Segments> {
    let len = input.len().div_ceil(4).max(1);
    Some((1..).zip(input.chunks(len).map(<[u8]>::to_vec)).collect())
}

fn check(segments: &Segments) {
    segments.iter().for_each(|(_, bytes)| inspect(bytes));
    let slices: Vec<(u64, &[u8])> = segments.iter().map(|(number, bytes)| (*number, &bytes[..])).collect();
    let recovered = scan(&IDENTITY, &slices).ok().map(|(groups, end)| Log {
        groups: groups.into_iter().map(|(group, log)| (group, plain(log))).collect(),
        end: (end.position.segment, end.position.offset),
        batches: end.batches,
    });
    assert_eq!(recovered, model::recover(segments));
}

fn plain(log: GroupLog) -> Group {
    let vec = |bytes: Bytes| bytes.to_vec();
    let entry = |entry: LogEntry| (entry.index, [&entry.meta[..], &entry.payload].concat());
    let count = log.entries.len();
    let entries: BTreeMap<u64, Vec<u8>> = log.entries.into_iter().map(entry).collect();
    assert_eq!(entries.len(), count, "an index stands once");
    Group {
        created: log.created.map(vec),
        vote: log.vote.map(vec),
        committed: log.committed.map(vec),
        snapshot: log.snapshot.map(vec),
        purged: log.purged.map(|(upto, id)| (upto, id.to_vec())),
        entries,
    }
}

/// Whatever is shown as a batch with readable records is, written again, what stands there.
fn inspect(bytes: &[u8]) {
    let Ok(segment) = Segment::decode(bytes) else { return };
    let mut end = 0;
    for part in segment.parts() {
        let (Part::Batch { offset, .. } | Part::Torn { offset, .. } | Part::Unreadable { offset, .. }) = part;
        assert!(offset >= end, "parts are in the order of the file");
        end = offset + 1;
        let Part::Batch { header, records, .. } = part else { continue };
        let Ok(records) = records.collect::<Result<Vec<_>, _>>() else { continue };
        let records = records
            .into_iter()
            .flat_map(|it| Record { kind: it.kind, group: it.group, index: it.index, body: it.body.to_vec() }.encode());
        let again = BatchHeader {
            length: header.length,
            sequence: header.sequence,
            run: header.run,
            durable: (header.durable.segment, header.durable.offset),
            oldest: header.oldest_segment,
            records: header.records,
        };
        let place = Place { generation: segment.header.generation, segment: segment.header.sequence, offset };
        if segment.header.identity == IDENTITY {
            let again = again.encode(&records.collect::<Vec<_>>(), &place);
            assert_eq!(again[..], bytes[offset as usize..][..header.length as usize], "at {offset}");
        }
    }
    segment.damage();
}
