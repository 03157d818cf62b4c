//! Random commands against a model that keeps everything and searches from the start: the same outcomes, the same reads.

mod common;

use common::model::Model;
use common::workload::Workload;
use common::*;
use kahuna_protocol::key::{Compacted, NotFound};
use kahuna_protocol::lock::{LockState, NotHeld};
use kahuna_protocol::sequence::{SequenceGet, SequenceState};
use kahuna_protocol::{ErrorReply, Hlc, Outcome};

/// The model gives no texts.
fn without_text(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Error(reply) => ErrorReply { text: String::new(), ..reply }.into(),
        other => other,
    }
}

/// Compares what is read by revision, by time and now, of one key.
fn compare_key(bench: &mut Bench, model: &Model, name: &str, at: Hlc, revision: u64, seed: u64) {
    let empty = Vec::new();
    let versions = model.keys.get(name.as_bytes()).unwrap_or(&empty);
    let now_ms = model.time.millis();

    let newest = versions.last();
    match (answer(bench.read(get(name))), newest.filter(|version| version.live(now_ms))) {
        (Outcome::Value(read), Some(version)) => {
            assert_eq!(Some(&read.value), version.value.as_ref(), "seed {seed}");
            assert_eq!((read.revision, read.modified), (version.revision, version.stamp.0), "seed {seed}");
            assert_eq!(read.deadline_ms, version.deadline_ms, "seed {seed}");
        }
        (Outcome::NotFound(NotFound { revision }), None) => {
            assert_eq!(revision, newest.map_or(0, |version| version.revision), "seed {seed}");
        }
        (read, _) => panic!("seed {seed}: {name} reads {read:?}"),
    }

    let by_revision = versions.iter().find(|version| version.revision == revision);
    match (answer(bench.read(get_revision(name, revision))), by_revision) {
        (Outcome::Value(read), Some(version)) if version.live(now_ms) => {
            assert_eq!(Some(read.value), version.value, "seed {seed}");
        }
        (Outcome::NotFound(_), None) => {}
        (Outcome::NotFound(_), Some(version)) => assert!(!version.live(now_ms), "seed {seed}"),
        (Outcome::Compacted(Compacted { oldest }), Some(version)) => {
            assert!(!version.kept && oldest > revision, "seed {seed}: {name} {revision} was kept");
        }
        (read, _) => panic!("seed {seed}: {name} at {revision} reads {read:?}"),
    }

    let current = versions.iter().rposition(|version| version.stamp <= at);
    let version = current.map(|index| &versions[index]);
    match (answer(bench.read(get_as_of(name, at))), version) {
        (Outcome::Value(read), Some(version)) if version.live(at.millis()) => {
            assert_eq!((Some(&read.value), read.revision), (version.value.as_ref(), version.revision), "seed {seed}");
        }
        (Outcome::NotFound(_), None) => {}
        (Outcome::NotFound(_), Some(version)) => assert!(!version.live(at.millis()), "seed {seed}"),
        (Outcome::Compacted(_), _) => {
            let from = current.unwrap_or(0);
            let all_kept = versions[from..].iter().all(|version| version.kept);
            assert!(!all_kept, "seed {seed}: {name} as of {at} was kept");
        }
        (read, _) => panic!("seed {seed}: {name} as of {at} reads {read:?}"),
    }
}

fn compare_lock_and_sequence(bench: &mut Bench, model: &Model, name: &str, seed: u64) {
    let now_ms = model.time.millis();
    let expected: Outcome = match model.locks.get(name.as_bytes()) {
        None => NotHeld { last_token: 0 }.into(),
        Some(lock) if !lock.held(now_ms) => NotHeld { last_token: lock.token }.into(),
        Some(lock) => {
            let (owner, token, deadline_ms) = (lock.owner.clone(), lock.token, lock.deadline_ms);
            LockState { owner, token, deadline_ms, waiters: 0 }.into()
        }
    };
    assert_eq!(answer(bench.read(info(name))), expected, "seed {seed}");
    let read = answer(bench.read(SequenceGet { name: name.into() }));
    match model.sequences.get(name.as_bytes()) {
        None => assert!(matches!(read, Outcome::SequenceNotFound(_)), "seed {seed}: {read:?}"),
        Some(sequence) => {
            let (incarnation, value, increment) = (sequence.incarnation, sequence.value, sequence.increment);
            let state = SequenceState { incarnation, value, increment, max: Some(sequence.max) };
            assert_eq!(read, state.into(), "seed {seed}");
        }
    }
}

fn run(seed: u64) {
    let (mut bench, mut workload, mut model) = (Bench::new(), Workload::new(seed), Model::default());
    let mut times = vec![Hlc::ZERO];
    // Shorter than the dead stay, by machine time: the model collects nothing.
    while bench.clock_ms < START_MS + 550_000 {
        bench.clock_ms += match workload.choices.below(30) {
            0 => 20_000,
            1..=5 => 1_000,
            _ => workload.choices.below(60),
        };
        // A leader's clock may be behind the machine.
        let stamp_ms = bench.clock_ms - workload.choices.below(3) * 100;
        let count = 1 + workload.choices.below(6);
        let commands: Vec<_> = (0..count).map(|_| (workload.prelude(stamp_ms), workload.request())).collect();
        let applied = bench.machine.apply(&batch(stamp_ms, commands.clone())).expect("readable");
        for ((prelude, request), outcome) in commands.iter().zip(applied.outcomes) {
            let expected = model.apply(stamp_ms, *prelude, request);
            assert_eq!(without_text(outcome), expected, "seed {seed}: {prelude:?} {request:?}");
        }
        assert_eq!(bench.machine.time(), model.time, "seed {seed}");
        times.push(model.time);
        let name = workload.name();
        let at = times[workload.choices.below(times.len() as u64) as usize];
        let revision = 1 + workload.choices.below(model.keys.get(name.as_bytes()).map_or(0, Vec::len) as u64 + 2);
        // Reads by machine time: the clock stands where the machine does.
        let clock_ms = std::mem::replace(&mut bench.clock_ms, model.time.millis());
        compare_key(&mut bench, &model, name, at, revision, seed);
        compare_lock_and_sequence(&mut bench, &model, name, seed);
        bench.clock_ms = clock_ms;
    }
    let live = |space: &str| -> Vec<String> {
        let names = model
            .keys
            .iter()
            .filter(|(_, versions)| versions.last().is_some_and(|version| version.live(model.time.millis())));
        let names = names.map(|(name, _)| String::from_utf8(name.clone()).expect("UTF-8"));
        names.filter(|name| kahuna_protocol::position::key_space(name.as_bytes()) == space.as_bytes()).collect()
    };
    bench.clock_ms = model.time.millis();
    for space in ["a", "b", "c/x", "none"] {
        assert_eq!(names(&bench.page(scan(space, 100))), live(space), "seed {seed}");
    }
}

#[test]
fn the_machine_does_what_the_model_says() {
    (0..40).for_each(run);
}
