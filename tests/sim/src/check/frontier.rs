//! The configurations a search has reached: what the object may look like, and who took effect to get there.
//!
//! A configuration is dropped when another one *covers* it: the same open operations have taken effect, its object
//! allows at least as much, and it spent no more operations of unknown outcome. Whatever completes the covered one
//! completes the covering one too.

use std::collections::HashMap;
use std::hash::Hash;

/// A sequential object, as the search sees it.
pub(super) trait Model {
    /// What the object may look like. May stand for a set of states ("revision 5 or higher").
    type State: Copy + Eq;
    /// An operation with its answer, or with none when nobody knows.
    type Op: Clone + Eq + Hash;
    /// States that can cover each other share their shape.
    type Shape: Eq + Hash;

    fn initial(&self) -> Self::State;
    /// The state after `op`, or none when `op` cannot take effect, or not with its answer. `now_ns` is the latest
    /// instant at which this can have been.
    fn step(&self, state: Self::State, op: &Self::Op, now_ns: u64) -> Option<Self::State>;
    /// Whether the operation only looks: it may reveal something about the state, but never changes the object.
    fn only_looks(&self, op: &Self::Op) -> bool;
    /// Whether an operation that has not taken effect in `state` never can, however the object goes on.
    fn hopeless(&self, state: Self::State, op: &Self::Op) -> bool;
    /// Of two operations that lead from one state to one state: whether `a` can also take effect wherever `b` can, and
    /// then does the same, but not the other way round. Then `b` is better spent first.
    fn outlasts(&self, a: &Self::Op, b: &Self::Op) -> bool;
    fn shape(&self, state: Self::State) -> Self::Shape;
    /// Whether everything that can follow `b` can follow `a`. Both have the same shape.
    fn covers(&self, a: Self::State, b: Self::State) -> bool;
}

#[derive(Clone)]
pub(super) struct Config<S> {
    pub state: S,
    /// Operations that took effect and have not returned, ascending.
    pub done: Vec<u32>,
    /// How many operations of each class of unknown outcome took effect, ascending by class, none of them 0.
    pub spent: Vec<(u32, u32)>,
}

impl<S: Copy> Config<S> {
    pub(super) fn is_done(&self, op: u32) -> bool {
        self.done.binary_search(&op).is_ok()
    }

    pub(super) fn mark_done(&mut self, op: u32) {
        if let Err(place) = self.done.binary_search(&op) {
            self.done.insert(place, op);
        }
    }

    pub(super) fn forget(&mut self, op: u32) {
        if let Ok(place) = self.done.binary_search(&op) {
            self.done.remove(place);
        }
    }

    pub(super) fn spent_of(&self, class: u32) -> u32 {
        self.spent.binary_search_by_key(&class, |&(class, _)| class).map_or(0, |place| self.spent[place].1)
    }

    pub(super) fn spend(&mut self, class: u32) {
        match self.spent.binary_search_by_key(&class, |&(class, _)| class) {
            Ok(place) => self.spent[place].1 += 1,
            Err(place) => self.spent.insert(place, (class, 1)),
        }
    }

    fn spent_at_most(&self, other: &Self) -> bool {
        self.spent.len() <= other.spent.len() && self.spent.iter().all(|&(class, n)| n <= other.spent_of(class))
    }
}

/// An insertion-ordered set of configurations in which none covers another.
pub(super) struct Frontier<M: Model> {
    configs: Vec<Option<Config<M::State>>>,
    places: HashMap<(M::Shape, Vec<u32>), Vec<usize>>,
    /// The work done so far: insertions and comparisons.
    pub steps: u64,
}

impl<M: Model> Frontier<M> {
    pub(super) fn new() -> Self {
        Self { configs: Vec::new(), places: HashMap::new(), steps: 0 }
    }

    /// Whether the configuration was news; if so, those that it covers are gone.
    pub(super) fn insert(&mut self, model: &M, config: Config<M::State>) -> bool {
        let bucket = self.places.entry((model.shape(config.state), config.done.clone())).or_default();
        self.steps += 1 + bucket.len() as u64;
        let covers = |a: &Config<M::State>, b: &Config<M::State>| model.covers(a.state, b.state) && a.spent_at_most(b);
        let configs = &mut self.configs;
        if bucket.iter().any(|&place| configs[place].as_ref().is_some_and(|known| covers(known, &config))) {
            return false;
        }
        bucket.retain(|&place| {
            let stays = configs[place].as_ref().is_some_and(|known| !covers(&config, known));
            if !stays {
                configs[place] = None;
            }
            stays
        });
        bucket.push(configs.len());
        configs.push(Some(config));
        true
    }

    /// The configuration at a place in insertion order: outer none past the end, inner none where it was covered later.
    pub(super) fn at(&self, place: usize) -> Option<Option<&Config<M::State>>> {
        self.configs.get(place).map(Option::as_ref)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Config<M::State>> {
        self.configs.iter().flatten()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.configs.iter().all(Option::is_none)
    }
}
