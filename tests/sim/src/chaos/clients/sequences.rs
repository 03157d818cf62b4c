//! Claim: no value of a sequence comes twice, values rise, and a reserved range is in one piece.

use std::time::Duration;

use kahuna_client::{CallOptions, call::CreateAnswer};
use kahuna_protocol::sequence::{SequenceCreate, SequenceNext, SequenceReserve};

use super::{
    Worker,
    names::{sequence, twice},
};
use crate::check::Op;

/// Most values of one reserve.
const MOST: u64 = 5;

impl Worker {
    pub(super) fn create_sequences(&self, group: u64, patience: Duration) {
        for name in [sequence(group), twice(group)] {
            let create = SequenceCreate { name: name.clone().into(), initial: 0, increment: 1, max: None };
            let options = CallOptions { timeout: Some(patience), ..CallOptions::default() };
            match self.client.call_with(create, options) {
                Ok(CreateAnswer::SequenceCreated(_)) => {}
                other => self.setting.recorder.problem(format!("{name} is not created: {other:?}")),
            }
        }
    }

    pub(super) fn sequence_step(&mut self) {
        let name = sequence(self.group);
        if self.rng.below(3) > 0 {
            return self.next(&name);
        }
        let count = self.rng.between(1, MOST);
        let mut invoked = self.invocation(Op::SeqReserve, &name);
        invoked.count = Some(count);
        self.operate(&invoked, SequenceReserve { name: name.into(), count, idempotency_key: Vec::new() });
    }

    pub(super) fn draw_from_all(&mut self, group: u64) {
        for name in [sequence(group), twice(group)] {
            self.next(&name);
        }
    }

    fn next(&mut self, name: &str) {
        let invoked = self.invocation(Op::SeqNext, name);
        self.operate(&invoked, SequenceNext { name: name.into(), idempotency_key: Vec::new() });
    }
}
