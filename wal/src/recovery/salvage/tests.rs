//! Logs made by hand, and what is kept of them. Whole directories with any damage are in the crate's tests.

use super::*;
use crate::recovery::scan::tests::{BLOCK, IDENTITY, Segment, given};

/// Three segments; each batch claims all before it.
fn three() -> [Segment; 3] {
    [
        Segment::new(1, &[given(1, 1, 1, (1, 1)), given(2, 1, 2, (1, 2))]),
        Segment::new(2, &[given(1, 1, 3, (1, 3)), given(2, 1, 4, (2, 2)), given(3, 1, 5, (2, 3))]),
        Segment::new(3, &[given(1, 1, 6, (2, 4)), given(2, 1, 7, (3, 2))]),
    ]
}

fn salvaged(segments: &[Segment]) -> Salvaged {
    let slices: Vec<(u64, &[u8])> = (1..).zip(segments.iter().map(|one| &one.bytes[..])).collect();
    salvage(&IDENTITY, &slices).expect("it is this log")
}

/// Segment and offset of the damage, and the batches kept.
fn found(salvaged: &Salvaged) -> (u64, u64, u64) {
    let at = salvaged.damage.as_ref().expect("it is damaged").at;
    (at.segment, at.offset, salvaged.end.batches)
}

#[test]
fn what_is_seen_behind_the_damage_is_counted() {
    let [one, two, last] = three();
    let seen = salvaged(&[one, two.tear_body(2), last]);
    assert_eq!(found(&seen), (2, 2 * BLOCK, 3));
    // Of the torn batch the header counts, its records do not.
    assert_eq!((seen.beyond.batches, seen.beyond.records), (4, 3));
    assert_eq!(seen.beyond.groups.get(&1), Some(&GroupBeyond { records: 3, index: None }));
    let [_, _, last] = three();
    let each = u64::from(header_at(&last.header, BLOCK, &last.bytes).expect("it is whole").length);
    assert_eq!(seen.beyond.bytes, 4 * each);
    assert_eq!(seen.durable, Position { segment: 3, offset: 2 * BLOCK });
}

#[test]
fn what_an_earlier_run_left_behind_the_end_is_not_counted() {
    let mut log = Segment::new(1, &[given(1, 3, 1, (1, 1)), given(3, 2, 3, (1, 2)), given(4, 2, 4, (1, 2))]);
    log.put(&given(2, 3, 2, (1, 2)));
    let seen = salvaged(&[log]);
    assert_eq!((seen.damage, seen.end.batches, seen.beyond), (None, 2, Beyond::default()));
}

#[test]
fn a_segment_of_another_log_is_lost_and_nothing_of_it_is_kept() {
    let [one, mut two, last] = three();
    two.header.identity.shard += 1;
    two.bytes[..BLOCK_BYTES].copy_from_slice(&two.header.encode());
    for (block, sequence, durable) in [(1, 3, (1, 3)), (2, 4, (2, 2)), (3, 5, (2, 3))] {
        two.put(&given(block, 1, sequence, durable));
    }
    let seen = salvaged(&[one, two, last]);
    assert_eq!(found(&seen), (2, 0, 2));
    assert!(seen.damage.expect("it is damaged").why.contains("another log"));
    assert_eq!(seen.beyond.batches, 2, "those of the last segment");
}

#[test]
fn a_segment_under_the_name_of_another_is_lost() {
    let [one, two, last] = three();
    let seen = salvaged(&[one, last, two]);
    assert_eq!(found(&seen), (2, 0, 2));
    assert_eq!(seen.beyond.batches, 0);
}

#[test]
fn of_a_short_file_all_that_is_there_is_kept() {
    let [one, mut two, last] = three();
    two.bytes.truncate(3 * BLOCK_BYTES);
    let seen = salvaged(&[one, two, last]);
    assert_eq!(found(&seen), (2, 3 * BLOCK, 4));
    assert!(
        seen.damage.expect("it is damaged").why.contains("the file ends here"),
        "it says why the batch is not there"
    );
    assert_eq!(seen.beyond.batches, 2);
}

#[test]
fn a_header_that_says_more_than_any_segment_holds_is_not_believed() {
    for (blocks, batches) in [(9, 5), ((MAX_SEGMENT_BYTES + BLOCK) / BLOCK, 2), (u64::MAX / BLOCK, 2)] {
        let [one, mut two, last] = three();
        two.header.segment_bytes = blocks * BLOCK;
        two.bytes[..BLOCK_BYTES].copy_from_slice(&two.header.encode());
        let seen = salvaged(&[one, two, last]);
        assert_eq!((seen.damage.is_some(), seen.end.batches.min(5)), (true, batches), "{blocks} blocks");
    }
}

#[test]
fn of_two_damages_the_first_is_named_and_of_one_place_what_the_file_says() {
    let lost_header = |mut segment: Segment| {
        segment.bytes[100] ^= 1;
        segment
    };
    // The records of an earlier segment, and the header of a later one.
    let [one, two, last] = three();
    assert_eq!(found(&salvaged(&[one, two.tear_body(1), lost_header(last)])), (2, BLOCK, 2));
    // The header of an earlier segment, and the records of a later one.
    let [one, two, last] = three();
    let seen = salvaged(&[one, lost_header(two), last.tear_body(1)]);
    assert_eq!(found(&seen), (2, 0, 2));
    assert!(seen.damage.expect("it is damaged").why.contains("checksum"), "not that it is missing");
}
