//! Logs made by hand, and the judge's verdict over them. All combinations at one place are walked in [`decisions`]; here
//! are the courses that take more than one place to tell.

mod decisions;

use bytes::Bytes;

use super::*;
use crate::format::batch::BATCH_HEADER_BYTES;
use crate::format::record::Record;
use crate::recovery::survey::place;

pub const IDENTITY: LogIdentity = LogIdentity { cluster: [3; 16], incarnation: 4, shard: 5 };
pub const BLOCK: u64 = BLOCK_BYTES as u64;

/// A segment of eight blocks whose batches take one block each.
pub struct Segment {
    pub header: SegmentHeader,
    pub bytes: Vec<u8>,
}

/// One batch: in which block, of which run and number, and what it claims durable (segment, block).
pub struct Given {
    block: u64,
    run: u64,
    sequence: u64,
    durable: (u64, u64),
}

pub fn given(block: u64, run: u64, sequence: u64, durable: (u64, u64)) -> Given {
    Given { block, run, sequence, durable }
}

impl Segment {
    pub fn new(sequence: u64, batches: &[Given]) -> Self {
        let header = SegmentHeader {
            version: crate::FORMAT_VERSION,
            identity: IDENTITY,
            sequence,
            generation: 100 + sequence,
            run: 1,
            segment_bytes: 8 * BLOCK,
        };
        let mut bytes = vec![0; 8 * BLOCK_BYTES];
        bytes[..BLOCK_BYTES].copy_from_slice(&header.encode());
        let mut segment = Self { header, bytes };
        batches.iter().for_each(|batch| segment.put(batch));
        segment
    }

    /// Each batch holds a vote that names its run and sequence number.
    pub fn put(&mut self, given: &Given) {
        self.put_records(given, &[Record::Vote(format!("{}.{}", given.run, given.sequence).into())]);
    }

    fn put_records(&mut self, given: &Given, records: &[Record]) {
        let mut batch = vec![0; BATCH_HEADER_BYTES];
        records.iter().for_each(|record| batch.extend(record.encoded(1)));
        let header = BatchHeader {
            length: batch.len() as u32,
            records: records.len() as u32,
            sequence: given.sequence,
            run: given.run,
            durable: Position { segment: given.durable.0, offset: given.durable.1 * BLOCK },
            oldest_segment: 1,
        };
        let at = given.block * BLOCK;
        header.seal(&mut batch, &place(&self.header, at));
        self.bytes[at as usize..at as usize + batch.len()].copy_from_slice(&batch);
    }

    pub fn tear_body(mut self, block: usize) -> Self {
        self.bytes[block * BLOCK_BYTES + BATCH_HEADER_BYTES] ^= 1;
        self
    }

    pub fn wipe(mut self, block: usize) -> Self {
        self.bytes[block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES].fill(0);
        self
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The last vote replayed, and where the log ends (segment, block).
    EndsAt(&'static str, (u64, u64)),
    /// Where the damage is (segment, offset).
    CorruptAt(u64, u64),
}
use Verdict::{CorruptAt, EndsAt};

#[track_caller]
fn check(segments: &[Segment], expected: &Verdict) {
    let slices: Vec<(u64, &[u8])> = segments.iter().map(|one| (one.header.sequence, &one.bytes[..])).collect();
    match (scan(&IDENTITY, &slices), expected) {
        (Ok((groups, end)), EndsAt(vote, (segment, block))) => {
            let last = groups.get(&1).and_then(|group| group.vote.clone()).unwrap_or_default();
            assert_eq!(
                (&last[..], end.position.segment, end.position.offset),
                (vote.as_bytes(), *segment, block * BLOCK)
            );
        }
        (Err(Refusal::Corrupt { at, why }), CorruptAt(segment, offset)) => {
            assert_eq!((at.segment, at.offset), (*segment, *offset));
            assert_eq!(why == MISSING, *offset == 0, "{why}");
        }
        (outcome, expected) => panic!("{expected:?} expected, got {:?}", outcome.map(|(_, end)| end)),
    }
}

#[test]
fn a_chain_that_is_whole_ends_behind_its_last_batch() {
    check(&[], &EndsAt("", (1, 1)));
    check(&[Segment::new(1, &[])], &EndsAt("", (1, 1)));
    let first = || Segment::new(1, &[given(1, 1, 1, (1, 1)), given(2, 1, 2, (1, 2))]);
    check(&[first()], &EndsAt("1.2", (1, 3)));
    check(&[first(), Segment::new(2, &[])], &EndsAt("1.2", (1, 3)));
    check(&[first(), Segment::new(2, &[given(1, 1, 3, (1, 3))])], &EndsAt("1.3", (2, 2)));
    check(&[first(), Segment::new(2, &[given(1, 2, 3, (1, 3))]), Segment::new(3, &[])], &EndsAt("2.3", (2, 2)));
}

#[test]
fn what_is_torn_above_every_claim_is_cut() {
    let one = || Segment::new(1, &[given(1, 1, 1, (1, 1)), given(2, 1, 2, (1, 2)), given(3, 1, 3, (1, 2))]);
    check(&[one().tear_body(3)], &EndsAt("1.2", (1, 3)));
    check(&[one().wipe(3)], &EndsAt("1.2", (1, 3)));
    // Two writes in flight, the later one landed: it claims only what was durable before both.
    check(&[one().tear_body(2)], &EndsAt("1.1", (1, 2)));
    check(&[one().wipe(2)], &EndsAt("1.1", (1, 2)));
    // The same over the border of a segment.
    let before = || Segment::new(1, &[given(1, 1, 1, (1, 1)), given(2, 1, 2, (1, 2))]);
    let behind = || Segment::new(2, &[given(1, 1, 3, (1, 2)), given(2, 1, 4, (1, 2))]);
    check(&[before().tear_body(2), behind()], &EndsAt("1.1", (1, 2)));
    check(&[before(), behind().tear_body(1)], &EndsAt("1.2", (1, 3)));
    check(&[before(), behind().wipe(1)], &EndsAt("1.2", (1, 3)));
    check(&[before(), behind().tear_body(2)], &EndsAt("1.3", (2, 2)));
}

#[test]
fn what_is_damaged_below_a_claim_is_refused() {
    let one = || Segment::new(1, &[given(1, 1, 1, (1, 1)), given(2, 1, 2, (1, 2)), given(3, 1, 3, (1, 3))]);
    for block in 1..=2 {
        check(&[one().tear_body(block)], &CorruptAt(1, block as u64 * BLOCK));
        check(&[one().wipe(block)], &CorruptAt(1, block as u64 * BLOCK));
        // The claim counts even when the batch that makes it is torn itself.
        check(&[one().tear_body(block).tear_body(3)], &CorruptAt(1, block as u64 * BLOCK));
    }
    let two = || Segment::new(2, &[given(1, 1, 4, (1, 4)), given(2, 1, 5, (2, 2))]);
    let three = || Segment::new(3, &[given(1, 1, 6, (2, 3))]);
    check(&[one().wipe(3), two(), three()], &CorruptAt(1, 3 * BLOCK));
    check(&[one(), two().wipe(1), three()], &CorruptAt(2, BLOCK));
    check(&[one(), two().tear_body(1), three()], &CorruptAt(2, BLOCK));
    check(&[one(), two().wipe(2), three()], &CorruptAt(2, 2 * BLOCK));
    check(&[one(), three()], &CorruptAt(2, 0));
    check(&[two(), three()], &CorruptAt(1, 0));
    check(&[Segment::new(2, &[]), Segment::new(3, &[])], &CorruptAt(2, BLOCK));
    check(&[one().wipe(1).wipe(2).wipe(3), Segment::new(2, &[])], &CorruptAt(1, BLOCK));
}

#[test]
fn damage_in_the_oldest_needed_segment_is_named_there() {
    let first = || Segment::new(1, &[given(1, 1, 1, (1, 1)), given(2, 1, 2, (1, 2))]);
    let second = |claimed| Segment::new(2, &[given(1, 1, 3, (1, 3)), given(2, 1, 4, claimed)]);
    for claimed in [(1, 3), (2, 2)] {
        check(&[first().wipe(1).wipe(2), second(claimed)], &CorruptAt(1, BLOCK));
        check(&[first().tear_body(1).wipe(2), second(claimed)], &CorruptAt(1, BLOCK));
        check(&[first().wipe(2), second(claimed)], &CorruptAt(1, 2 * BLOCK));
    }
}

#[test]
fn damage_behind_a_segment_that_is_shorter_than_the_next_is_named_where_it_is() {
    let short = || Segment::new(1, &[given(1, 1, 1, (1, 1))]);
    let long = || Segment::new(2, &[given(1, 1, 2, (1, 2)), given(2, 1, 3, (2, 2)), given(3, 1, 4, (2, 3))]);
    check(&[short(), long()], &EndsAt("1.4", (2, 4)));
    check(&[short(), long().tear_body(1)], &CorruptAt(2, BLOCK));
    check(&[short(), long().wipe(1)], &CorruptAt(2, BLOCK));
    check(&[short(), long().wipe(2)], &CorruptAt(2, 2 * BLOCK));
}

#[test]
fn batches_records_and_segments_are_counted() {
    let first = Segment::new(1, &[given(1, 1, 1, (1, 1)), given(2, 1, 2, (1, 2))]);
    let second = Segment::new(2, &[given(1, 1, 3, (1, 3))]);
    let slices = [(1, &first.bytes[..]), (2, &second.bytes[..])];
    let (_, end) = scan(&IDENTITY, &slices).expect("it is whole");
    assert_eq!((end.segments, end.batches, end.records, end.next_sequence, end.torn), (2, 3, 3, 4, false));
    let (_, end) = scan(&IDENTITY, &slices[..1]).expect("it is whole");
    assert_eq!((end.segments, end.batches, end.records, end.next_sequence, end.torn), (1, 2, 2, 3, false));
    let (_, end) = scan(&IDENTITY, &[(1, &Segment::new(1, &[]).bytes)]).expect("it is new");
    assert_eq!((end.segments, end.batches, end.records, end.next_sequence, end.torn), (0, 0, 0, 1, false));
}

#[test]
fn a_batch_of_a_lower_run_is_not_part_of_the_log() {
    // Run 1 had three batches in flight; the first was torn, and run 2 began over it.
    let log = |more: &[Given]| {
        let stale = [given(1, 1, 1, (1, 1)), given(3, 1, 3, (1, 2)), given(4, 1, 4, (1, 2))];
        let mut segment = Segment::new(1, &stale);
        segment.put(&given(2, 2, 2, (1, 2)));
        more.iter().for_each(|batch| segment.put(batch));
        segment
    };
    check(&[log(&[])], &EndsAt("2.2", (1, 3)));
    check(&[log(&[given(3, 2, 3, (1, 3))])], &EndsAt("2.3", (1, 4)));
    // The same where the stale batches lie in the next segment.
    let first = || Segment::new(1, &[given(1, 1, 1, (1, 1)), given(2, 2, 2, (1, 2))]);
    check(&[first(), Segment::new(2, &[given(1, 1, 3, (1, 2))])], &EndsAt("2.2", (1, 3)));
    // Run 1 had two in flight and lost the first; run 2 began over it and, for want of room, went on in the next segment.
    for stale in [3, 5] {
        let first = [given(1, 1, 1, (1, 1)), given(2, 2, 2, (1, 2)), given(stale, 1, 3, (1, 2))];
        check(&[Segment::new(1, &first), Segment::new(2, &[given(1, 2, 3, (1, 3))])], &EndsAt("2.3", (2, 2)));
    }
    // A higher run goes on with the next number; a number that does not follow is not the log's.
    check(&[Segment::new(1, &[given(1, 1, 1, (1, 1)), given(2, 9, 2, (1, 2))])], &EndsAt("9.2", (1, 3)));
    check(&[Segment::new(1, &[given(1, 1, 1, (1, 1)), given(2, 1, 3, (1, 2))])], &EndsAt("1.1", (1, 2)));
}

#[test]
fn segments_below_the_oldest_needed_are_not_looked_at() {
    let mut tail = Segment::new(7, &[]);
    let mut batch = vec![0; BATCH_HEADER_BYTES];
    let durable = Position { segment: 7, offset: BLOCK };
    let header = BatchHeader { length: 64, records: 0, sequence: 40, run: 3, durable, oldest_segment: 7 };
    header.seal(&mut batch, &place(&tail.header, BLOCK));
    tail.bytes[BLOCK_BYTES..BLOCK_BYTES + 64].copy_from_slice(&batch);
    let leftover = Segment::new(3, &[given(1, 1, 1, (1, 1))]).wipe(0);
    check(&[leftover, tail], &EndsAt("", (7, 2)));
}

#[test]
fn entries_above_a_hole_are_refused_where_they_stand() {
    let entry = |index| Record::Entry { index, meta: [0; 16], payload: Bytes::new() };
    let moved = |index| Record::Moved { index, meta: [0; 16], payload: Bytes::new() };
    let purge = |upto| Record::Purge { upto, log_id: Bytes::new() };
    let log = |batches: &[&[Record]]| {
        let mut segment = Segment::new(1, &[]);
        for (block, records) in (1..).zip(batches) {
            segment.put_records(&given(block, 1, block, (1, block)), records);
        }
        [segment]
    };
    check(&log(&[&[entry(7)], &[entry(8)]]), &EndsAt("", (1, 3)));
    check(&log(&[&[entry(6), entry(7)], &[entry(9)]]), &CorruptAt(1, 2 * BLOCK));
    // Behind the purge mark it is the same, wherever that stands.
    check(&log(&[&[purge(6)], &[entry(7)]]), &EndsAt("", (1, 3)));
    check(&log(&[&[purge(6)], &[entry(8)]]), &CorruptAt(1, 2 * BLOCK));
    check(&log(&[&[entry(8)], &[purge(6)]]), &CorruptAt(1, BLOCK));
    // It may close: a copy of an older entry, or a higher mark, may come later.
    check(&log(&[&[purge(6), entry(8)], &[moved(7)]]), &EndsAt("", (1, 3)));
    check(&log(&[&[purge(6), entry(8)], &[purge(7)]]), &EndsAt("", (1, 3)));
    check(&log(&[&[purge(u64::MAX)], &[Record::Truncate { from: 0 }]]), &EndsAt("", (1, 3)));
}

#[test]
fn no_bytes_make_the_judge_panic() {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = move |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize % bound
    };
    for _ in 0..3000 {
        let mut segments = [
            Segment::new(1, &[given(1, 1, 1, (1, 1)), given(2, 1, 2, (1, 2))]),
            Segment::new(2, &[given(1, 1, 3, (1, 3)), given(2, 2, 4, (2, 2))]),
        ];
        for _ in 0..1 + below(4) {
            let bytes = &mut segments[below(2)].bytes;
            let at = below(bytes.len());
            let len = below(200).min(bytes.len() - at);
            match below(3) {
                0 => bytes.truncate(at),
                1 => bytes.iter_mut().skip(at).take(len).for_each(|byte| *byte ^= 0x55),
                _ => bytes.copy_within(at..at + len, 0),
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        let slices: Vec<(u64, &[u8])> = segments.iter().map(|one| (one.header.sequence, &one.bytes[..])).collect();
        if let Ok((groups, _)) = scan(&IDENTITY, &slices) {
            let vote = groups.get(&1).and_then(|group| group.vote.clone()).unwrap_or_default();
            assert!([&b""[..], b"1.1", b"1.2", b"1.3", b"2.4"].contains(&&vote[..]), "{vote:?}");
        }
    }
}
