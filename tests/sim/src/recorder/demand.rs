//! While the cluster is whole, every operation must be answered in time.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use super::shared::locked;

/// Whether answers are demanded, and of which processes' operations they were.
#[derive(Debug, Default)]
pub(crate) struct Demand(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bound: Option<Duration>,
    /// The processes with an operation under way of which an answer is demanded.
    open: BTreeSet<u64>,
    begun: u64,
}

impl Demand {
    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.0)
    }

    /// From now on, until `None`, every operation must be answered within `bound`.
    pub(crate) fn set(&self, bound: Option<Duration>) {
        self.state().bound = bound;
    }

    /// An operation of `process` begins: within what it must be answered, if it must.
    pub(crate) fn begins(&self, process: u64) -> Option<Duration> {
        let mut state = self.state();
        let bound = state.bound?;
        state.open.insert(process);
        state.begun += 1;
        Some(bound)
    }

    /// The operation of `process` is over.
    pub(crate) fn met(&self, process: u64) {
        self.state().open.remove(&process);
    }

    /// Operations under way of which an answer is demanded.
    pub(crate) fn open(&self) -> usize {
        self.state().open.len()
    }

    /// Operations of which an answer was demanded.
    pub(crate) fn begun(&self) -> u64 {
        self.state().begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_while_answers_are_demanded_is_counted_until_its_end() {
        let demand = Demand::default();
        assert_eq!((demand.begins(1), demand.open(), demand.begun()), (None, 0, 0), "nothing is demanded yet");
        let bound = Some(Duration::from_millis(10));
        demand.set(bound);
        assert_eq!((demand.begins(1), demand.begins(2)), (bound, bound));
        demand.set(None);
        assert_eq!((demand.begins(3), demand.open(), demand.begun()), (None, 2, 2));
        demand.met(3);
        demand.met(1);
        assert_eq!((demand.open(), demand.begun()), (1, 2));
    }
}
