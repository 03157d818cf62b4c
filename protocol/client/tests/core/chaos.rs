//! Claim: whatever nodes and connections do, every request ends once, every write is applied at most once, and what the
//! client says about it is true. A seeded adversary plays two nodes over one deduplicating store.

use std::collections::BTreeMap;
use std::time::Duration;

use kahuna_client::ClientError;
use kahuna_client::core::ConnectionId;
use kahuna_client::protocol::ErrorCode;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use crate::script::{Script, Sent, options, refusal, set, was_set};

#[derive(Default)]
struct Store {
    /// Number -> the revision recorded for it.
    applied: BTreeMap<u64, u64>,
    acknowledged: u64,
    /// Number -> valid until, as first seen.
    valid_until: BTreeMap<u64, u64>,
    /// Requests that a node will apply later, though it answered "unknown" or nothing.
    late: Vec<u64>,
}

impl Store {
    fn apply(&mut self, number: u64) -> u64 {
        let next = self.applied.len() as u64 + 1;
        *self.applied.entry(number).or_insert(next)
    }

    fn see(&mut self, sent: &Sent, open: &BTreeMap<u64, ()>) {
        let prelude = &sent.prelude;
        let first = *self.valid_until.entry(prelude.number).or_insert(prelude.valid_until_ms);
        assert_eq!(first, prelude.valid_until_ms, "the same validity at every attempt");
        assert!(prelude.acknowledged <= prelude.number);
        assert!(open.keys().all(|&open| open >= prelude.acknowledged), "the mark passed an open number");
        self.acknowledged = self.acknowledged.max(prelude.acknowledged);
    }
}

/// What one node does with one request.
fn act(script: &mut Script, store: &mut Store, dice: &mut SmallRng, sent: &Sent) {
    let number = sent.prelude.number;
    match dice.random_range(0..10) {
        0..=3 => {
            let revision = store.apply(number);
            script.reply(sent, was_set(revision));
        }
        4 => {
            store.apply(number); // and the answer is lost
        }
        5 => {
            store.late.push(number);
            script.reply(sent, refusal(ErrorCode::Unknown));
        }
        6 => script.reply(sent, refusal(ErrorCode::Busy)),
        7 => script.reply(sent, refusal(ErrorCode::NoLeader)),
        8 => script.disconnect(sent.connection),
        _ if store.applied.contains_key(&number) => script.disconnect(sent.connection),
        _ => script.reply(sent, refusal(ErrorCode::BadRequest)),
    }
}

fn play(seed: u64) -> [u32; 3] {
    let (mut dice, mut store) = (SmallRng::seed_from_u64(seed), Store::default());
    let mut script = Script::new(options());
    let (mut open, mut numbers) = (BTreeMap::new(), BTreeMap::new());
    let mut tally = [0; 3];
    for step in 0..400_u64 {
        if step < 200 && dice.random_range(0..2) == 0 {
            let token = script.submit(&set("k"));
            let number = numbers.len() as u64 + 1;
            numbers.insert(token, number);
            open.insert(number, ());
        }
        let opens: Vec<(ConnectionId, String)> = script.opens.clone();
        for (connection, endpoint) in opens {
            match dice.random_range(0..4) {
                0 => {
                    script.opens.retain(|&(open, _)| open != connection);
                    script.disconnect(connection);
                }
                1 => {}
                _ => {
                    let node = endpoint[1..2].parse().expect("n1 to n3");
                    script.welcome(&endpoint, node, 0);
                }
            }
        }
        for sent in std::mem::take(&mut script.sent) {
            store.see(&sent, &open);
            if !script.closed.contains(&sent.connection) {
                act(&mut script, &mut store, &mut dice, &sent);
            }
        }
        if dice.random_range(0..5) == 0 {
            for number in std::mem::take(&mut store.late) {
                store.apply(number);
            }
        }
        script.advance(Duration::from_millis(1 << dice.random_range(0..9)));
        for (token, result) in std::mem::take(&mut script.done) {
            let number = numbers[&token];
            assert!(open.remove(&number).is_some(), "done once");
            let applied = store.applied.get(&number).copied();
            match result {
                Ok(reply) => assert_eq!(reply.outcome, was_set(applied.expect("applied"))),
                Err(ClientError::Refused(_) | ClientError::Unavailable { .. }) => {
                    assert_eq!(applied, None, "said to be not applied");
                    assert!(!store.late.contains(&number), "said to be not applied, and still may be");
                    tally[1] += 1;
                    continue;
                }
                Err(ClientError::Unknown { .. }) => tally[2] += 1,
                Err(other) => panic!("{other}"),
            }
            tally[0] += u32::from(applied.is_some());
        }
    }
    assert!(open.len() <= 200);
    script.advance(Duration::from_secs(6));
    assert_eq!(script.core.pending(), 0, "everything ends at its deadline");
    tally
}

#[test]
fn every_request_ends_once_and_nothing_untrue_is_said() {
    let mut total = [0; 3];
    for seed in 0..300 {
        let tally = std::panic::catch_unwind(|| play(seed)).unwrap_or_else(|panic| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic)
        });
        total.iter_mut().zip(tally).for_each(|(sum, count)| *sum += count);
    }
    assert!(total.iter().all(|&count| count > 100), "outcomes, refusals and unknowns were all seen: {total:?}");
}
