//! Taking a state apart in small steps: freeing a large one at once would stall its shard.

use kahuna_protocol::meta::Settings;

use crate::Machine;
use crate::snapshot::{Blocks, Frozen, Restore};
use crate::state::{Index, Range, State, free_one};

/// The most records, and the most of each other thing, that one step frees.
const STEP: usize = 64;

/// State of a machine, or a frozen state, that is no longer needed and is freed in steps.
#[derive(Debug)]
pub struct Remains {
    state: State,
    index: Index,
}

impl Remains {
    /// Frees a part, some tens of microseconds of work; whether something is left.
    pub fn step(&mut self) -> bool {
        let mut left = false;
        for _ in 0..STEP {
            left = free_one(&mut self.state.rows, &mut self.index);
            if !left {
                break;
            }
        }
        left
    }
}

impl From<Machine> for Remains {
    fn from(machine: Machine) -> Self {
        let Machine { state, index, .. } = machine;
        Self { state, index }
    }
}

impl From<Frozen> for Remains {
    fn from(frozen: Frozen) -> Self {
        Self { state: frozen.into_state(), index: Index::default() }
    }
}

impl From<Blocks> for Remains {
    fn from(blocks: Blocks) -> Self {
        Self { state: blocks.into_state(), index: Index::default() }
    }
}

impl From<Restore> for Remains {
    fn from(restore: Restore) -> Self {
        let nothing = || Machine::new(Settings::default(), Range::none());
        restore.into_machine().unwrap_or_else(nothing).into()
    }
}

#[cfg(test)]
mod tests {
    use kahuna_protocol::batch::BatchBuilder;
    use kahuna_protocol::key::{Condition, KeySet};
    use kahuna_protocol::sequence::{SequenceCreate, SequenceNext};
    use kahuna_protocol::{Hlc, Request, RequestPrelude, SessionId};

    use super::*;
    use crate::state::Rows;

    /// A state with rows in every table, and some that are due in every index.
    fn full() -> Machine {
        let mut machine = Machine::new(Settings::default(), Range::all(1));
        let mut builder = BatchBuilder::new();
        let mut number = 0;
        let mut push = |request: Request| {
            number += 1;
            let prelude =
                RequestPrelude { session: SessionId(7), number, valid_until_ms: 60_000, ..RequestPrelude::default() };
            let mut body = Vec::new();
            request.encode_body(&mut body);
            builder.push(request.kind(), 0, &prelude, &body);
        };
        push(SequenceCreate { name: b"s".to_vec(), initial: 0, increment: 1, max: None }.into());
        for at in 0..2 * STEP as u32 {
            let (key, condition) = (format!("k{at}").into_bytes(), Condition::default());
            push(KeySet { key, value: Vec::new(), ttl_ms: Some(60_000), condition, no_history: false }.into());
            push(SequenceNext { name: b"s".to_vec(), idempotency_key: at.to_le_bytes().to_vec() }.into());
        }
        machine.apply(&builder.finish(Hlc::from_millis(1_000))).expect("a sound batch");
        machine
    }

    #[test]
    fn a_full_state_frees_to_nothing() {
        let machine = full();
        assert!(machine.state.rows.lengths().iter().all(|rows| *rows > 0), "{:?}", machine.state.rows.lengths());
        let mut remains = Remains::from(machine);
        let mut steps = 1;
        while remains.step() {
            steps += 1;
        }
        assert!(steps > 2, "it is freed in steps");
        assert_eq!(format!("{:?}", remains.state.rows), format!("{:?}", Rows::default()));
        let Index { sessions, answers, records, draws } = remains.index;
        assert!(sessions.is_empty() && answers.expiries.is_empty() && records.is_empty() && draws.is_empty());
    }
}
