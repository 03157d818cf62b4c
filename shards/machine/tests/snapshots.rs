//! A snapshot is the state of one moment, whole or refused.

mod common;

use common::workload::Workload;
use common::*;
use kahuna_machine::{Fault, Machine, Remains, Restore, SnapshotError, block_bytes, check_block};
use kahuna_protocol::key::KeySet;
use kahuna_protocol::{Hlc, Outcome, Request, RequestPrelude, SessionId};

/// Applies random batches; the outcomes.
fn drive(bench: &mut Bench, workload: &mut Workload, batches: usize) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for _ in 0..batches {
        bench.clock_ms += workload.step_ms();
        let count = 1 + workload.choices.below(8);
        let requests: Vec<_> = (0..count).map(|_| (workload.prelude(bench.clock_ms), workload.request())).collect();
        outcomes.extend(bench.machine.apply(&batch(bench.clock_ms, requests)).expect("readable").outcomes);
    }
    outcomes
}

fn refused(blocks: &[Vec<u8>]) -> SnapshotError {
    let mut restore = Restore::new();
    for block in blocks {
        if let Err(error) = restore.push_block(block) {
            return error;
        }
    }
    restore.finish().map(|machine| machine.hash()).expect_err("must be refused")
}

/// A snapshot of many blocks.
fn large() -> Vec<Vec<u8>> {
    let mut bench = Bench::new();
    drive(&mut bench, &mut Workload::new(5), 50);
    let fill: Vec<Request> = (0..2_000).map(|n| set(&format!("fill/{n:04}"), &"x".repeat(100)).into()).collect();
    bench.run_all(fill);
    let blocks = blocks(&bench.machine);
    assert!(blocks.len() >= 5, "{} blocks", blocks.len());
    blocks
}

/// Everything in a machine, what is computed from its state included.
fn inside(machine: &Machine) -> String {
    format!("{machine:?}")
}

#[test]
fn a_restored_machine_has_the_same_inside_and_the_same_future() {
    for seed in 0..20 {
        let (mut bench, mut workload) = (Bench::new(), Workload::new(seed));
        let mut twin = Bench::new();
        for round in 0..20 {
            let mut same = workload.clone();
            let outcomes = drive(&mut bench, &mut workload, 30);
            assert_eq!(drive(&mut twin, &mut same, 30), outcomes, "seed {seed}, round {round}");
            assert_eq!(twin.machine.hash(), bench.machine.hash(), "seed {seed}, round {round}");
            twin.machine = restored(&blocks(&bench.machine));
            assert!(inside(&twin.machine) == inside(&bench.machine), "seed {seed}, round {round}: other insides");
            assert_eq!(twin.machine.hash(), bench.machine.hash(), "seed {seed}, round {round}: restored");
        }
    }
}

#[test]
fn the_hash_tells_any_two_states_apart() {
    let hash = |change: fn(&mut Bench)| {
        let mut bench = Bench::new();
        bench.set("k", "v");
        change(&mut bench);
        bench.machine.hash()
    };
    let same = hash(|_| {});
    assert_eq!(same, hash(|_| {}));
    assert_ne!(same, hash(|bench| assert!(bench.set("k", "v") > 1)));
    assert_ne!(same, hash(|bench| assert!(bench.acquire("k", "a", 1) > 0)));
    assert_ne!(same, hash(|bench| drop(bench.run(create("k", 0, 1, None)))));
    assert_ne!(
        same,
        hash(|bench| drop(bench.run(kahuna_protocol::meta::Tick { to: Hlc::from_millis(START_MS + 1).0 })))
    );
}

#[test]
fn freezing_keeps_its_moment_while_commands_go_on() {
    for seed in 0..5 {
        let (mut bench, mut workload) = (Bench::new(), Workload::new(seed));
        drive(&mut bench, &mut workload, 200);
        let before = blocks(&bench.machine);
        let mut frozen = bench.machine.freeze().into_blocks();
        let mut after = Vec::new();
        loop {
            drive(&mut bench, &mut workload, 20);
            match frozen.next() {
                Some(block) => after.push(block),
                None => break,
            }
        }
        assert_eq!(after, before, "seed {seed}");
        assert_ne!(blocks(&bench.machine), before, "seed {seed}: something was written");
    }
}

#[test]
fn blocks_are_bounded_by_64_kib_and_one_value() {
    let mut bench = Bench::new();
    let value = "v".repeat(300 << 10);
    for _ in 0..16 {
        bench.set("hot", &value);
    }
    let blocks = blocks(&bench.machine);
    let longest = blocks.iter().map(Vec::len).max().expect("blocks");
    assert!(longest < (64 << 10) + value.len() + 100, "{longest}");
    for block in &blocks {
        let head = *block.first_chunk().expect("a header");
        assert_eq!(block_bytes(head), block.len());
    }
    let mut twin = Bench { machine: restored(&blocks), clock_ms: bench.clock_ms };
    assert!(matches!(twin.answer(get_revision("hot", 1)), Outcome::Value(read) if read.value == value.as_bytes()));
}

#[test]
fn an_empty_machine_has_a_snapshot_too() {
    let machine = Machine::new(settings(), kahuna_machine::Range::all(3));
    let twin = restored(&blocks(&machine));
    assert_eq!((twin.hash(), twin.epoch(), twin.is_empty()), (machine.hash(), 3, true));
}

#[test]
fn every_flipped_bit_is_refused_at_its_block() {
    let blocks = large();
    let mut choices = Choices(11);
    for (at, block) in blocks.iter().enumerate() {
        for _ in 0..30 {
            let bit = choices.below(block.len() as u64 * 8) as usize;
            let mut altered = blocks.clone();
            altered[at][bit / 8] ^= 1 << (bit % 8);
            let error = refused(&altered);
            assert_eq!(error.block as usize, at, "bit {bit} of block {at}: {error}");
            assert!(matches!(error.fault, Fault::Crc { .. } | Fault::Length { .. }), "bit {bit} of {at}: {error}");
        }
    }
}

#[test]
fn missing_repeated_and_reordered_blocks_are_refused() {
    let blocks = large();
    for at in 0..blocks.len() {
        let mut missing = blocks.clone();
        missing.remove(at);
        let expected = if at + 1 == blocks.len() { Fault::Missing } else { Fault::Number(at as u32 + 1) };
        assert_eq!(refused(&missing), SnapshotError { block: at as u32, fault: expected });
        let mut repeated = blocks.clone();
        repeated.insert(at, blocks[at].clone());
        assert_eq!(refused(&repeated), SnapshotError { block: at as u32 + 1, fault: Fault::Number(at as u32) });
        let mut cut = blocks.clone();
        cut[at].pop();
        assert!(matches!(refused(&cut).fault, Fault::Length { .. }));
        assert_eq!(refused(&blocks[..at]), SnapshotError { block: at as u32, fault: Fault::Missing });
    }
}

#[test]
fn a_block_of_another_snapshot_is_refused_by_the_trailer() {
    let snapshot = |value: &str| {
        let mut bench = Bench::new();
        bench.set("k", value);
        blocks(&bench.machine)
    };
    let (mut mixed, other) = (snapshot("one"), snapshot("two"));
    mixed[1] = other[1].clone();
    let error = refused(&mixed);
    assert!(matches!(error, SnapshotError { block: 2, fault: Fault::Hash { .. } }), "{error}");
}

#[test]
fn an_error_says_which_block_and_why() {
    let blocks = large();
    let text = refused(&blocks[..3]).to_string();
    assert_eq!(text, "block 3 of the snapshot: the snapshot ends before it, without a trailer");
}

#[test]
fn remains_are_freed_in_steps_and_leave_the_machine_alone() {
    let mut bench = Bench::new();
    for n in 0..3_000 {
        bench.run(KeySet { ttl_ms: Some(1 << 30), ..set(&format!("a/{n}"), "v") });
    }
    let hash = bench.machine.hash();
    let mut remains = Remains::from(bench.machine.freeze());
    let mut steps = 1;
    while remains.step() {
        steps += 1;
    }
    assert!(steps > 10, "{steps}");
    assert_eq!(bench.machine.hash(), hash);
    let mut remains = Remains::from(bench.machine);
    while remains.step() {}
    assert!(!remains.step());
}

/// A change of this hash is a change of the format: old snapshots could not be read, and replicas of two versions could
/// not be compared.
#[test]
fn the_format_is_pinned() {
    let mut bench = Bench::new();
    bench.set("a/key", "one");
    bench.run(KeySet { ttl_ms: Some(5_000), ..set("a/key", "two") });
    bench.run(delete("a/key"));
    bench.acquire("a/held", "owner", 5_000);
    bench.acquire("a/free", "owner", 5_000);
    bench.release("a/free", "owner");
    bench.run(create("a/sequence", 3, -2, Some(-100)));
    bench.run(reserve("a/sequence", 5, "order"));
    let prelude = RequestPrelude {
        session: SessionId(7),
        number: 3,
        acknowledged: 2,
        valid_until_ms: START_MS + 1_000,
        ..RequestPrelude::default()
    };
    bench.run_as(prelude, next("a/sequence"));
    assert_eq!(bench.machine.hash(), 0x2eaa_9f0a_6a8b_713f);
}

/// What version 1 wrote; the same commands now make the same machine.
#[test]
fn version_1_is_still_read() {
    let (mut bench, mut workload) = (Bench::new(), Workload::new(1));
    drive(&mut bench, &mut workload, 100);
    bench.set("text", &"the same words again and again, ".repeat(100));
    let mut rest = &include_bytes!("fixtures/snapshot-v1.bin")[..];
    let mut old = Vec::new();
    while let Some(head) = rest.first_chunk() {
        let (block, behind) = rest.split_at(block_bytes(*head));
        old.push(block.to_vec());
        rest = behind;
    }
    assert_eq!(old[0][20..22], [1, 0], "the version in the head");
    let twin = restored(&old);
    assert_eq!(twin.hash(), bench.machine.hash());
    assert!(inside(&twin) == inside(&bench.machine));
}

#[test]
fn blocks_are_packed_where_that_saves_an_eighth() {
    let bytes = |value: &dyn Fn(u32) -> Vec<u8>| {
        let mut bench = Bench::new();
        for n in 0..2_000 {
            let value = value(n);
            let request: Request = KeySet { value, ..set(&format!("a/{n}"), "") }.into();
            bench.run(request);
        }
        let blocks = blocks(&bench.machine);
        assert_eq!(restored(&blocks).hash(), bench.machine.hash());
        for (number, block) in (0..).zip(&blocks) {
            check_block(number, block).expect("whole, packed or not");
            assert_eq!(check_block(number + 1, block).expect_err("another one").fault, Fault::Number(number));
        }
        blocks.concat().len()
    };
    let text = bytes(&|n| format!("{{\"owner\": \"service-{n}\", \"state\": \"active\"}}").repeat(6).into());
    let mut choices = Choices(3);
    let noise: Vec<Vec<u8>> = (0..2_000).map(|_| (0..256).map(|_| choices.below(256) as u8).collect()).collect();
    let noise = bytes(&|n| noise[n as usize].clone());
    assert!(text < 2_000 * 256 / 2, "{text} bytes of text");
    assert!((2_000 * 256..2_000 * 400).contains(&noise), "{noise} bytes of noise");
}

#[test]
fn a_packed_block_that_lies_about_its_length_is_refused() {
    let blocks = large();
    let (at, packed) = blocks.iter().enumerate().find(|(_, block)| block[13] == 1).expect("a packed block");
    for stated in [0, 1, 1 << 16, u32::MAX] {
        let mut altered = blocks.clone();
        let block = &mut altered[at];
        block[16..20].copy_from_slice(&u32::to_le_bytes(stated));
        let crc = crc32fast::hash(&[&block[0..4], &block[8..]].concat());
        block[4..8].copy_from_slice(&crc.to_le_bytes());
        assert!(block != packed);
        assert_eq!(refused(&altered), SnapshotError { block: at as u32, fault: Fault::Packing });
    }
}
