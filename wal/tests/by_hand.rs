//! The tables of FORMAT.md, written out once more without the crate's code: what they say is read, and what the log writes
//! is what they say. Another order of fields, another seed or another checksum shows here.

mod common;

use std::fs;

use common::{IDENTITY, entry, open, recover, segments, temp_dir, write_log};
use kahuna_wal::{LogOptions, Record};

const BLOCK: usize = 4096;
const SEGMENT_BYTES: usize = 64 << 10;
const GENERATION: u64 = 1 << 32 | 1;
const RUN: u64 = 1;

/// CRC-32, reflected, polynomial 0xEDB88320.
fn crc32(parts: &[&[u8]]) -> u32 {
    !parts.iter().copied().flatten().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Segment 1 with its header, otherwise zeros.
fn segment(version: u32) -> Vec<u8> {
    let mut bytes = vec![0; SEGMENT_BYTES];
    put(&mut bytes, 0, b"KAHUNAWL");
    put(&mut bytes, 8, &version.to_le_bytes());
    put(&mut bytes, 12, &4096u32.to_le_bytes());
    put(&mut bytes, 16, &IDENTITY.cluster);
    put(&mut bytes, 32, &IDENTITY.incarnation.to_le_bytes());
    put(&mut bytes, 40, &IDENTITY.shard.to_le_bytes());
    put(&mut bytes, 48, &1u64.to_le_bytes());
    put(&mut bytes, 56, &GENERATION.to_le_bytes());
    put(&mut bytes, 64, &RUN.to_le_bytes());
    put(&mut bytes, 72, &(SEGMENT_BYTES as u64).to_le_bytes());
    let crc = crc32(&[&bytes[..4092]]);
    put(&mut bytes, 4092, &crc.to_le_bytes());
    bytes
}

fn seed(generation: u64, segment: u64, offset: usize, run: u64) -> Vec<u8> {
    let mut seed = IDENTITY.cluster.to_vec();
    seed.extend(IDENTITY.incarnation.to_le_bytes());
    seed.extend(IDENTITY.shard.to_le_bytes());
    for field in [generation, segment, offset as u64, run] {
        seed.extend(field.to_le_bytes());
    }
    assert_eq!(seed.len(), 58);
    seed
}

/// Puts a batch at `offset` of segment 1; the offset of the next one.
fn put_batch(bytes: &mut [u8], offset: usize, number: u64, durable: usize, records: &[Vec<u8>]) -> usize {
    let body = records.concat();
    let mut header = vec![0; 64];
    put(&mut header, 0, b"KWB1");
    put(&mut header, 4, &(64 + body.len() as u32).to_le_bytes());
    for (at, field) in [(8, number), (16, RUN), (24, 1), (32, durable as u64), (40, 1)] {
        put(&mut header, at, &field.to_le_bytes());
    }
    put(&mut header, 48, &(records.len() as u32).to_le_bytes());
    let seed = seed(GENERATION, 1, offset, RUN);
    let crc = crc32(&[&seed, &header[..56]]);
    put(&mut header, 56, &crc.to_le_bytes());
    let crc = crc32(&[&seed, &header[..60], &body]);
    put(&mut header, 60, &crc.to_le_bytes());
    put(bytes, offset, &header);
    put(bytes, offset + 64, &body);
    offset + (64 + body.len()).next_multiple_of(BLOCK)
}

fn record(kind: u8, group: u32, index: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(group.to_le_bytes());
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(index.to_le_bytes());
    bytes.extend(body);
    bytes
}

/// Claim: a log of each version that is written from the tables alone is read, record by record, and goes on.
#[test]
fn what_the_tables_say_is_read() {
    for version in [1, 2] {
        let entry_body = |text: &str| [&[7; 16][..], text.as_bytes()].concat();
        let long = "a long payload".repeat(500);
        let mut bytes = segment(version);
        let second = put_batch(&mut bytes, BLOCK, 1, BLOCK, &[]);
        let mut records = vec![
            record(7, 3, 0, b"the facts"),
            record(2, 3, 0, b"a vote"),
            record(1, 3, 1, &entry_body("one")),
            record(1, 3, 2, &entry_body("two")),
            record(1, 3, 3, &entry_body("gone")),
            record(1, 4, 1, &entry_body("of a group that goes")),
        ];
        let third = put_batch(&mut bytes, second, 2, second, &records);
        records = vec![
            record(4, 3, 3, &[]),
            record(1, 3, 3, &entry_body(&long)),
            record(5, 3, 1, b"the log id"),
            record(6, 3, 0, b"a pointer"),
            record(3, 3, 0, b"committed"),
            record(8, 4, 0, &[]),
        ];
        if version == 2 {
            records.push(record(9, 3, 2, &entry_body("two")));
        }
        let seal = put_batch(&mut bytes, third, 3, third, &records);
        let end = put_batch(&mut bytes, seal, 4, seal, &[]);
        assert_eq!((third - second, seal - third), (BLOCK, 2 * BLOCK));

        let dir = temp_dir();
        fs::write(dir.path().join("00000000000000000001.seg"), &bytes).expect("our own directory");
        let recovered = recover(dir.path(), &LogOptions::small()).expect("it is whole");
        assert_eq!((recovered.report.batches, recovered.report.end.offset), (4, end as u64), "version {version}");
        assert_eq!(recovered.groups.keys().collect::<Vec<_>>(), [&3]);
        let group = &recovered.groups[&3];
        let marks = [&group.created, &group.vote, &group.committed, &group.snapshot];
        let marks = marks.map(|mark| mark.as_deref().expect("it was written"));
        assert_eq!(marks, [&b"the facts"[..], b"a vote", b"committed", b"a pointer"]);
        assert_eq!(group.purged.as_ref().map(|(upto, id)| (*upto, &id[..])), Some((1, &b"the log id"[..])));
        let entries: Vec<_> = group.entries.iter().map(|entry| (entry.index, entry.meta, &entry.payload[..])).collect();
        assert_eq!(entries, [(2, [7; 16], &b"two"[..]), (3, [7; 16], long.as_bytes())]);
        let again = write_log(dir.path(), &LogOptions::small(), &[(3, entry(4, "four"))], true);
        assert_eq!(again.report.run, 3, "the first opening was run 2");
        assert_eq!(recover(dir.path(), &LogOptions::small()).expect("it goes on").groups[&3].entries.len(), 3);
    }
}

/// Claim: every header and every batch that the log writes is laid out and sealed as the tables say.
#[test]
fn what_is_written_is_what_the_tables_say() {
    let dir = temp_dir();
    let appends: Vec<(u32, Record)> = (1..=20).map(|index| (5, entry(index, vec![index as u8; 5000]))).collect();
    write_log(dir.path(), &LogOptions::small(), &appends, true);
    let ring = common::disk();
    drop(open(&ring, &ring, dir.path(), &LogOptions::small()).expect("a second run"));
    let (mut next, mut entries) = (1, 0);
    for (number, path) in (1..).zip(segments(dir.path())) {
        let bytes = fs::read(&path).expect("a segment");
        assert_eq!((&bytes[..8], u32_at(&bytes, 8), u32_at(&bytes, 12)), (&b"KAHUNAWL"[..], 2, 4096));
        assert_eq!(bytes[16..32], IDENTITY.cluster);
        assert_eq!((u64_at(&bytes, 48), u64_at(&bytes, 72)), (number, SEGMENT_BYTES as u64));
        assert_eq!(u32_at(&bytes, 4092), crc32(&[&bytes[..4092]]));
        let generation = u64_at(&bytes, 56);
        let mut at = BLOCK;
        while bytes.get(at..at + 4) == Some(b"KWB1") {
            let length = u32_at(&bytes, at + 4) as usize;
            let (header, body) = bytes[at..at + length].split_at(64);
            let seed = seed(generation, number, at, u64_at(header, 16));
            assert_eq!(u32_at(header, 56), crc32(&[&seed, &header[..56]]), "segment {number} offset {at}");
            assert_eq!(u32_at(header, 60), crc32(&[&seed, &header[..60], body]), "segment {number} offset {at}");
            assert_eq!(u64_at(header, 8), next, "numbers rise by one");
            assert!(bytes[at + length..(at + length).next_multiple_of(BLOCK)].iter().all(|&byte| byte == 0));
            let mut rest = body;
            for _ in 0..u32_at(header, 48) {
                let (head, behind) = rest.split_at(20);
                entries += u64::from(head[0] == 1);
                assert!(head[0] != 1 || (u32_at(head, 4), u64_at(head, 12)) == (5, entries));
                rest = &behind[u32_at(head, 8) as usize..];
            }
            assert!(rest.is_empty());
            at = (at + length).next_multiple_of(BLOCK);
            next += 1;
        }
    }
    assert!(next > 20 && entries == 20, "{next} batches, {entries} entries");
}
