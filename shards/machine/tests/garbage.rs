//! Bytes that no client would send: a batch that cannot be read stops the replica, and nothing panics.

mod common;

use bytes::Bytes;
use common::workload::Workload;
use common::*;
use kahuna_machine::{ApplyError, Restore};
use kahuna_protocol::batch::{Batch, BatchBuilder};
use kahuna_protocol::meta::MapGet;
use kahuna_protocol::{ErrorCode, FrameError, Hlc, Request, RequestPrelude, SessionId};

#[test]
fn an_unknown_kind_stops_the_replica() {
    let mut bench = Bench::new();
    let mut builder = BatchBuilder::new();
    builder.push(0x7abc, 0, &RequestPrelude::default(), b"whatever");
    let error = bench.machine.apply(&builder.finish(Hlc::ZERO)).expect_err("unknown");
    assert_eq!(error, ApplyError::UnknownKind { command: 0, kind: 0x7abc });
}

#[test]
fn a_damaged_body_and_a_damaged_batch_stop_the_replica() {
    let mut bench = Bench::new();
    let mut builder = BatchBuilder::new();
    let kind = Request::from(set("k", "v")).kind();
    builder.push(kind, 0, &RequestPrelude::default(), b"short");
    let error = bench.machine.apply(&builder.finish(Hlc::ZERO)).expect_err("damaged");
    assert_eq!(error, ApplyError::Damaged { command: 0, reason: FrameError::Body(kind) });
    assert!(matches!(bench.machine.apply(&Batch::default()), Err(ApplyError::Damaged { .. })));
    let whole = batch(START_MS, [(RequestPrelude::default(), set("k", "v").into())]);
    for cut in 0..whole.bytes().len() {
        let cut = Batch::from_bytes(whole.bytes().slice(..cut));
        assert!(matches!(Bench::new().machine.apply(&cut), Err(ApplyError::Damaged { .. })));
    }
}

#[test]
fn a_read_in_the_log_is_answered_and_changes_nothing() {
    let mut bench = Bench::new();
    for request in [Request::from(get("k")), scan("k", 1).into(), info("k").into(), MapGet {}.into()] {
        assert_eq!(code(&bench.run(request)), Some(ErrorCode::BadRequest));
    }
    assert_eq!(code(&answer(bench.read(set("k", "v")))), Some(ErrorCode::BadRequest));
    assert!(bench.machine.is_empty());
}

#[test]
fn arguments_out_of_range_are_refused_by_name_in_the_log_too() {
    let mut bench = Bench::new();
    assert_eq!(code(&bench.run(acquire("l", "", 1))), Some(ErrorCode::BadRequest));
    assert_eq!(code(&bench.run(acquire("l", "a", 0))), Some(ErrorCode::BadRequest));
    assert_eq!(code(&bench.run(set("nul\0", "v"))), Some(ErrorCode::BadRequest));
    assert_eq!(code(&bench.run(create("s", 0, 0, None))), Some(ErrorCode::BadRequest));
    assert!(bench.machine.is_empty());
}

#[test]
fn random_bodies_under_every_kind_never_panic() {
    let mut choices = Choices(1);
    let mut bench = Bench::new();
    for round in 0..20_000u64 {
        let kind = Request::KINDS[choices.below(Request::KINDS.len() as u64) as usize];
        let mut body: Vec<u8> = (0..choices.below(120)).map(|_| choices.draw() as u8).collect();
        if choices.one_in(2) {
            body.fill(0);
        }
        let mut builder = BatchBuilder::new();
        let prelude =
            RequestPrelude { session: SessionId(choices.below(3)), number: round, ..RequestPrelude::default() };
        builder.push(kind, choices.draw() as u16, &prelude, &body);
        // Either way is right; a panic is not.
        let _ = bench.machine.apply(&builder.finish(Hlc::from_millis(START_MS + round)));
    }
}

#[test]
fn flipped_bits_in_real_batches_never_panic() {
    let (mut bench, mut workload) = (Bench::new(), Workload::new(3));
    let mut refused = 0;
    for round in 0..5_000u64 {
        let requests: Vec<_> = (0..4).map(|_| (workload.prelude(START_MS + round), workload.request())).collect();
        let mut bytes = batch(START_MS + round, requests).bytes().to_vec();
        // The stamp is left alone: at the end of time every later command would look alike.
        let bit = 16 * 8 + workload.choices.below((bytes.len() as u64 - 16) * 8) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
        refused += u32::from(bench.machine.apply(&Batch::from_bytes(Bytes::from(bytes))).is_err());
    }
    assert!((100..5_000).contains(&refused), "{refused} of 5000 were unreadable");
    let twin = restored(&blocks(&bench.machine));
    assert_eq!(twin.hash(), bench.machine.hash());
}

#[test]
fn random_bytes_are_no_snapshot() {
    let mut choices = Choices(2);
    for _ in 0..2_000 {
        let block: Vec<u8> = (0..choices.below(200)).map(|_| choices.draw() as u8).collect();
        assert!(Restore::new().push_block(&block).is_err());
    }
}
