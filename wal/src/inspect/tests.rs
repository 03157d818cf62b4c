use bytes::Bytes;

use super::*;
use crate::format::batch::BATCH_HEADER_BYTES;
use crate::{LogIdentity, Record};

const BLOCK: usize = BLOCK_BYTES;

fn header() -> SegmentHeader {
    let identity = LogIdentity { cluster: [3; 16], incarnation: 4, shard: 5 };
    SegmentHeader {
        version: crate::FORMAT_VERSION,
        identity,
        sequence: 9,
        generation: 7,
        run: 2,
        segment_bytes: 8 * BLOCK as u64,
    }
}

/// Batches 1 and 2 in the first two blocks, each claiming all before it; then zeros.
fn segment() -> Vec<u8> {
    let mut bytes = vec![0; 8 * BLOCK];
    bytes[..BLOCK].copy_from_slice(&header().encode());
    put(&mut bytes, 1, 1);
    put(&mut bytes, 2, 2);
    bytes
}

fn put(bytes: &mut [u8], block: usize, sequence: u64) {
    let mut batch = vec![0; BATCH_HEADER_BYTES];
    for record in [Record::Vote(Bytes::from_static(b"v")), Record::Truncate { from: sequence }] {
        batch.extend(record.encoded(6));
    }
    let at = (block * BLOCK) as u64;
    let durable = Position { segment: 9, offset: at };
    let header = BatchHeader { length: batch.len() as u32, records: 2, sequence, run: 2, durable, oldest_segment: 9 };
    header.seal(&mut batch, &recovery::place(&self::header(), at));
    bytes[block * BLOCK..][..batch.len()].copy_from_slice(&batch);
}

fn shown(bytes: &[u8]) -> String {
    let segment = Segment::decode(bytes).expect("the header is whole");
    let one = |part| match part {
        Part::Batch { offset, header, records } => {
            let kinds: Vec<&str> = records.map(|record| record.map_or_else(|why| why, |it| it.kind_name)).collect();
            format!("{}:batch {} {}", offset / BLOCK as u64, header.sequence, kinds.join("+"))
        }
        Part::Torn { offset, header } => format!("{}:torn {}", offset / BLOCK as u64, header.sequence),
        Part::Unreadable { offset, bytes } => format!("{}:{bytes}", offset / BLOCK as u64),
    };
    segment.parts().map(one).collect::<Vec<_>>().join(", ")
}

fn damage(bytes: &[u8]) -> Option<u64> {
    Segment::decode(bytes).expect("the header is whole").damage().map(|damage| damage.offset / BLOCK as u64)
}

#[test]
fn batches_and_their_records_are_shown() {
    assert_eq!(shown(&segment()), "1:batch 1 vote+truncate, 2:batch 2 vote+truncate");
    assert_eq!(damage(&segment()), None);
    let segment = segment();
    let Some(Part::Batch { mut records, .. }) = Segment::decode(&segment).expect("whole").parts().next() else {
        panic!("the first part is a batch")
    };
    let vote = RecordView { kind: 2, kind_name: "vote", group: 6, index: 0, body: b"v" };
    assert_eq!(records.next(), Some(Ok(vote)));
}

#[test]
fn damage_is_shown_and_what_follows_too() {
    let mut torn = segment();
    torn[BLOCK + 70] ^= 1;
    assert_eq!(shown(&torn), "1:torn 1, 2:batch 2 vote+truncate");
    assert_eq!(damage(&torn), Some(1), "the second batch claims the first");
    let mut unclaimed = segment();
    unclaimed[2 * BLOCK + 70] ^= 1;
    assert_eq!(shown(&unclaimed), "1:batch 1 vote+truncate, 2:torn 2");
    assert_eq!(damage(&unclaimed), None);
    let mut stale = segment();
    stale[4 * BLOCK..6 * BLOCK].fill(1);
    put(&mut stale, 7, 9);
    assert_eq!(shown(&stale), "1:batch 1 vote+truncate, 2:batch 2 vote+truncate, 4:8192, 7:batch 9 vote+truncate");
    assert_eq!(damage(&stale), Some(3));
    let mut wiped = segment();
    wiped[BLOCK..2 * BLOCK].fill(0);
    assert_eq!((shown(&wiped).as_str(), damage(&wiped)), ("2:batch 2 vote+truncate", Some(1)));
    assert_eq!(damage(&segment()[..5 * BLOCK]), Some(5));
    assert!(Segment::decode(&segment()[1..]).is_err());
}

#[test]
fn an_odd_end_is_no_trouble() {
    let mut bytes = segment();
    bytes.extend_from_slice(&[1; 100]);
    assert_eq!(shown(&bytes), "1:batch 1 vote+truncate, 2:batch 2 vote+truncate, 8:100");
}
