//! Claim: no value of a sequence comes twice, values rise, and a reserved range is in one piece.

use std::time::Duration;

use kahuna_client::CallOptions;
use kahuna_protocol::{
    Outcome as Answer,
    sequence::{SequenceCreate, SequenceNext, SequenceReserve},
};

use super::{Asks, Process};
use crate::finding::Judge;

/// Under one group of names.
const SEQUENCES: u64 = 2;
/// Most values of one reserve.
const MOST: u64 = 5;

impl<A: Asks> Process<A> {
    /// The names of all sequences.
    fn sequences(&self) -> Vec<String> {
        let groups = self.habits.naming.lasting();
        groups.iter().flat_map(|names| (0..SEQUENCES).map(|number| names.sequence(number))).collect()
    }

    pub(super) async fn create_sequences(&mut self, patience: Duration) {
        for name in self.sequences() {
            let create = SequenceCreate { name: name.clone().into(), initial: 0, increment: 1, max: None };
            let options = CallOptions { timeout: Some(patience), ..CallOptions::default() };
            match self.asker.call(create.into(), options).await.map(|reply| reply.outcome) {
                Ok(Answer::SequenceCreated(_)) => {}
                other => self.recorder.problem(Judge::Liveness, format!("{name} is not created: {other:?}")),
            }
        }
    }

    pub(super) async fn sequence_step(&mut self) {
        let name = self.names().sequence(self.rng.below(SEQUENCES));
        if self.rng.below(3) > 0 {
            return self.next(&name).await;
        }
        let count = self.rng.between(1, MOST);
        self.operate(SequenceReserve { name: name.into(), count, idempotency_key: Vec::new() }).await;
    }

    pub(super) async fn draw_from_all(&mut self) {
        for name in self.sequences() {
            self.next(&name).await;
        }
    }

    async fn next(&mut self, name: &str) {
        self.operate(SequenceNext { name: name.into(), idempotency_key: Vec::new() }).await;
    }
}
