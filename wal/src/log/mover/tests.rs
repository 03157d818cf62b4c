//! When entries are moved: each condition by itself, and each bound at its edge.

use super::*;
use crate::log::index::Index;
use crate::log::pool::Pool;
use crate::log::queue::Queue;
use crate::log::release::Release;
use crate::{LogOptions, UringDisk};

/// Bytes of a segment.
const SEGMENT: u64 = 64 << 10;

/// A durable log from segment 1 to `tail`, of which nothing lives but one entry of `live` bytes in segment 1.
fn log(tail: u64, live: u64) -> State<UringDisk> {
    let options = LogOptions::small();
    let queue = Queue::new(Position::first_in(tail), 1, SEGMENT, SEGMENT, options.max_batch_bytes);
    let mut index = Index::default();
    let record = Record::Entry { index: 1, meta: [0; 16], payload: Bytes::new() };
    let bytes = u32::try_from(live).expect("a record is shorter than 4 GiB");
    index.apply(1, &record, EntryPlace { batch: Position::first_in(1), bytes }).expect("it is the first");
    let mut state = State::new(queue, index, Position::first_in(tail), 0, Release::new(1), Pool::new(&options));
    state.prepared_upto = tail + 1;
    state
}

fn moves(mut state: State<UringDisk>, change: impl FnOnce(&mut State<UringDisk>)) -> bool {
    change(&mut state);
    state.segment_to_move(&LogOptions::small()) == Some(1)
}

fn nothing(_: &mut State<UringDisk>) {}

#[test]
fn entries_move_once_the_log_is_longer_than_the_bound() {
    // Three times what lives and two segments: the other two of the slack are for the time that moving takes.
    assert_eq!([5, 6].map(|tail| moves(log(tail, SEGMENT), nothing)), [false, true]);
    assert_eq!([SEGMENT - 1, SEGMENT, SEGMENT + 1].map(|live| moves(log(5, live), nothing)), [true, false, false]);
    assert_eq!([2, 3].map(|tail| moves(log(tail, 36), nothing)), [false, true]);
}

#[test]
fn nothing_moves_out_of_what_is_not_durable_or_once_the_log_takes_nothing_more() {
    let with = |change: fn(&mut State<UringDisk>)| moves(log(9, SEGMENT), change);
    assert!(with(nothing));
    assert!(!with(|state| state.durable = Position::first_in(1)));
    assert!(with(|state| state.durable = Position::first_in(2)));
    assert!(!with(|state| state.closing = true));
    assert!(!with(|state| state.failed = Some(LogError::Closed)));
}

#[test]
fn copies_wait_for_a_tail_that_may_hold_them() {
    assert_eq!([9, 10].map(|from| moves(log(9, SEGMENT), |state| state.moves_from = from)), [true, false]);
}

#[test]
fn an_entry_that_is_too_long_for_a_copy_holds_up_no_other_segment() {
    assert_eq!([1, 2].map(|long| moves(log(9, SEGMENT), |state| state.immovable = Some(long))), [false, true]);
}

#[test]
fn on_a_full_disk_copies_take_at_most_half_of_what_they_give_back() {
    let fill = |state: &mut State<UringDisk>, prepared_upto| {
        state.prepared_upto = prepared_upto;
        state.pool.refuse(&"full");
    };
    assert_eq!([SEGMENT / 2, SEGMENT / 2 + 1].map(|live| moves(log(9, live), |state| fill(state, 10))), [true, false]);
    assert!(moves(log(9, SEGMENT / 2 + 1), nothing), "while there is room all is moved");
    // With the segment behind the tail ready, and not while the log waits for room.
    assert_eq!([10, 9, 8].map(|upto| moves(log(9, 36), |state| fill(state, upto))), [true, false, false]);
}
