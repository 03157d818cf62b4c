//! Claim: no value of a sequence comes twice, values rise, and a reserved range is in one piece.

use std::time::Duration;

use kahuna_protocol::{
    Outcome as Answer,
    sequence::{SequenceCreate, SequenceNext, SequenceReserve},
};

use super::Process;
use crate::{check::Op, finding::Judge};

const SEQUENCES: u64 = 2;
/// Most values of one reserve.
const MOST: u64 = 5;
/// A cluster that has just been started has so long to form itself and to serve.
const FORMING: Duration = Duration::from_secs(30);

pub(super) fn sequence(number: u64) -> String {
    format!("sequence-{number}")
}

impl Process {
    pub(super) async fn create_sequences(&mut self) {
        for number in 0..SEQUENCES {
            let name = sequence(number).into_bytes();
            let create = SequenceCreate { name, initial: 0, increment: 1, max: None };
            match self.client.call(create, FORMING).await.map(|reply| reply.outcome) {
                Ok(Answer::SequenceCreated(_)) => {}
                other => {
                    let text = format!("{} is not created: {other:?}", sequence(number));
                    self.recorder.problem(Judge::Liveness, text);
                }
            }
        }
    }

    pub(super) async fn sequence_step(&mut self) {
        let name = sequence(self.rng.below(SEQUENCES));
        if self.rng.below(3) > 0 {
            return self.next(&name).await;
        }
        let count = self.rng.between(1, MOST);
        let mut invoked = self.invocation(Op::SeqReserve, &name);
        invoked.count = Some(count);
        let request = SequenceReserve { name: name.into(), count, idempotency_key: Vec::new() };
        self.operate(invoked, request.into()).await;
    }

    pub(super) async fn draw_from_all(&mut self) {
        for number in 0..SEQUENCES {
            self.next(&sequence(number)).await;
        }
    }

    async fn next(&mut self, name: &str) {
        let invoked = self.invocation(Op::SeqNext, name);
        let request = SequenceNext { name: name.into(), idempotency_key: Vec::new() };
        self.operate(invoked, request.into()).await;
    }
}
