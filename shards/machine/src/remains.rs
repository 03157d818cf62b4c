//! Taking a state apart in small steps: freeing a large one at once would stall its shard.

use kahuna_protocol::meta::Settings;

use crate::Machine;
use crate::snapshot::{Blocks, Frozen, Restore};
use crate::state::{Index, Range, State};

/// The most records, and the most of each other thing, that one step frees.
const STEP: usize = 64;

/// What is left of a machine, or of a frozen state, that nobody needs any more.
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
            left = self.free_one();
            if !left {
                break;
            }
        }
        left
    }

    fn free_one(&mut self) -> bool {
        let Self { state, index } = self;
        let mut some = index.endings.pop_first().is_some();
        some |= index.answers.pop_first().is_some();
        some |= index.sessions.pop_first().is_some();
        some |= index.draws.pop_first().is_some();
        if let Some(key) = state.records.get_min().map(|(key, _)| key.clone()) {
            some |= state.records.remove(&key).is_some();
        }
        if let Some(key) = state.answers.get_min().map(|(key, _)| *key) {
            some |= state.answers.remove(&key).is_some();
        }
        if let Some(key) = state.sessions.get_min().map(|(key, _)| *key) {
            some |= state.sessions.remove(&key).is_some();
        }
        if let Some(key) = state.draws.get_min().map(|(key, _)| key.clone()) {
            some |= state.draws.remove(&key).is_some();
        }
        some
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
