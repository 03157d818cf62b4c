//! Just-in-time linearization (Lowe, "Testing for linearizability", 2017) of one object's operations.
//!
//! Time is walked from event to event. An operation need not take effect before it returns, so only returns branch: at
//! each one, every configuration is extended by open operations, in every order, until the returning one took effect.
//! No configuration left means that no order explains the answers.
//!
//! Three things keep this narrow. An operation that only looks takes effect as soon as it fits without revealing anything,
//! without a branch: to wait could not help. Operations of unknown outcome never return; equal ones form a class, of which a
//! configuration only counts how many it spent, and having spent fewer is better (`frontier`). And a configuration in
//! which an open operation has become hopeless is dropped.

use std::collections::HashMap;

use super::frontier::{Config, Frontier, Model};

/// Between two looks at which classes can never take effect again.
const RETURNS_BETWEEN_SWEEPS: usize = 64;

/// One operation on the object.
pub(super) struct Entry<O> {
    pub op: O,
    pub invoked_ns: u64,
    /// None: it may take effect at any time after its invocation, or never.
    pub returned_ns: Option<u64>,
}

/// How the search ended.
pub(super) enum Answer<S> {
    Linearizable,
    /// The entry at this index cannot take effect before it returns.
    Stuck {
        entry: usize,
        states: Vec<S>,
        open: Vec<usize>,
    },
    OutOfBudget,
}

/// Searches for an order of `entries` that `model` accepts. Every step of the search takes one from `budget`.
pub(super) fn search<M: Model>(model: &M, entries: &[Entry<M::Op>], budget: &mut u64) -> Answer<M::State> {
    let mut search = Search { model, entries, open: Vec::new(), classes: Vec::new(), active: Vec::new(), budget };
    let class_of = search.classify();
    let mut frontier = Frontier::new();
    frontier.insert(model, Config { state: model.initial(), done: Vec::new(), spent: Vec::new() });
    let mut returns = 0;
    for (at_ns, is_return, entry) in timeline(entries) {
        if !is_return {
            match class_of[entry as usize] {
                Some(class) => search.invoke_unknown(class),
                None => {
                    search.open.push(entry);
                    frontier = search.absorb_new(frontier, entry, at_ns);
                }
            }
            continue;
        }
        let Some(next) = search.linearize(&frontier, entry, at_ns) else {
            return Answer::OutOfBudget;
        };
        if next.is_empty() {
            let states = frontier.iter().map(|config| config.state).collect();
            let open = search.open.iter().filter(|&&op| op != entry).map(|&op| op as usize).collect();
            return Answer::Stuck { entry: entry as usize, states, open };
        }
        search.open.retain(|&op| op != entry);
        frontier = next;
        returns += 1;
        if returns % RETURNS_BETWEEN_SWEEPS == 0 {
            search.sweep(&frontier);
        }
    }
    Answer::Linearizable
}

/// Invocations and returns in order of time; at one instant invocations come first, so that equal instants overlap.
fn timeline<O>(entries: &[Entry<O>]) -> Vec<(u64, bool, u32)> {
    let index = |at: usize| u32::try_from(at).expect("a history of one name has fewer than 2^32 operations");
    let mut events: Vec<(u64, bool, u32)> = Vec::with_capacity(entries.len() * 2);
    for (at, entry) in entries.iter().enumerate() {
        events.push((entry.invoked_ns, false, index(at)));
        events.extend(entry.returned_ns.map(|returned_ns| (returned_ns, true, index(at))));
    }
    events.sort_unstable();
    events
}

/// Operations of unknown outcome that are equal in everything.
struct Class<'a, O> {
    op: &'a O,
    invoked: u32,
}

struct Search<'a, M: Model> {
    model: &'a M,
    entries: &'a [Entry<M::Op>],
    /// Invoked, not returned, and sure to return.
    open: Vec<u32>,
    classes: Vec<Class<'a, M::Op>>,
    /// The classes of which something was invoked and that can still take effect.
    active: Vec<u32>,
    budget: &'a mut u64,
}

impl<'a, M: Model> Search<'a, M> {
    /// The class of each entry of unknown outcome.
    fn classify(&mut self) -> Vec<Option<u32>> {
        let mut known: HashMap<&'a M::Op, u32> = HashMap::new();
        let mut class_of = Vec::with_capacity(self.entries.len());
        for entry in self.entries {
            class_of.push(entry.returned_ns.is_none().then(|| {
                *known.entry(&entry.op).or_insert_with(|| {
                    self.classes.push(Class { op: &entry.op, invoked: 0 });
                    u32::try_from(self.classes.len() - 1).expect("fewer classes than operations")
                })
            }));
        }
        class_of
    }

    fn invoke_unknown(&mut self, number: u32) {
        let class = &mut self.classes[number as usize];
        class.invoked += 1;
        if class.invoked == 1 {
            self.active.push(number);
        }
    }

    fn op(&self, entry: u32) -> &'a M::Op {
        &self.entries[entry as usize].op
    }

    /// Lets a new operation that only looks take effect wherever that reveals nothing.
    fn absorb_new(&self, frontier: Frontier<M>, entry: u32, now_ns: u64) -> Frontier<M> {
        let op = self.op(entry);
        let fits = |config: &Config<M::State>| self.model.step(config.state, op, now_ns) == Some(config.state);
        if !self.model.only_looks(op) || !frontier.iter().any(fits) {
            return frontier;
        }
        let mut next = Frontier::new();
        for config in frontier.iter() {
            let mut config = config.clone();
            if fits(&config) {
                config.mark_done(entry);
            }
            next.insert(self.model, config);
        }
        next
    }

    /// Every configuration in which `target` took effect and has returned; none when the budget is used up.
    fn linearize(&mut self, frontier: &Frontier<M>, target: u32, now_ns: u64) -> Option<Frontier<M>> {
        let mut reached = Frontier::new();
        let mut waiting = Frontier::new();
        for config in frontier.iter() {
            self.settle(config.clone(), target, &mut waiting, &mut reached);
        }
        let mut place = 0;
        while let Some(config) = waiting.at(place) {
            place += 1;
            // Covered meanwhile by one that is still to come.
            let Some(config) = config.cloned() else { continue };
            let before = waiting.steps + reached.steps;
            for next in self.successors(&config, now_ns) {
                self.settle(next, target, &mut waiting, &mut reached);
            }
            *self.budget = self.budget.checked_sub(1 + waiting.steps + reached.steps - before)?;
        }
        Some(reached)
    }

    fn settle(&self, mut config: Config<M::State>, target: u32, waiting: &mut Frontier<M>, reached: &mut Frontier<M>) {
        if config.is_done(target) {
            config.forget(target);
            reached.insert(self.model, config);
        } else {
            waiting.insert(self.model, config);
        }
    }

    /// The configurations after one more operation took effect, without those that cannot be completed.
    fn successors(&self, config: &Config<M::State>, now_ns: u64) -> Vec<Config<M::State>> {
        let mut found = Vec::new();
        for &entry in &self.open {
            if config.is_done(entry) {
                continue;
            }
            if let Some(state) = self.model.step(config.state, self.op(entry), now_ns) {
                let mut next = Config { state, ..config.clone() };
                next.mark_done(entry);
                found.extend(self.absorb(next, now_ns));
            }
        }
        for (number, op, state) in self.unknown_effects(config, now_ns) {
            let mut next = Config { state, ..config.clone() };
            // What can never be again need not be remembered: those who did without are not better off.
            if !self.model.hopeless(state, op) {
                next.spend(number);
            }
            found.extend(self.absorb(next, now_ns));
        }
        found
    }

    /// The classes of unknown outcome that can change something now, without those better kept for later. One that
    /// changes nothing need not have taken effect.
    fn unknown_effects(&self, config: &Config<M::State>, now_ns: u64) -> Vec<(u32, &'a M::Op, M::State)> {
        let mut effects: Vec<(u32, &'a M::Op, M::State)> = Vec::new();
        for &number in &self.active {
            let class = &self.classes[number as usize];
            if let Some(state) = self.model.step(config.state, class.op, now_ns)
                && state != config.state
                && config.spent_of(number) < class.invoked
            {
                effects.push((number, class.op, state));
            }
        }
        let better_kept = |&(_, a, to): &(u32, &M::Op, M::State)| {
            effects.iter().any(|&(_, b, other)| to == other && self.model.outlasts(a, b))
        };
        effects.iter().filter(|effect| !better_kept(effect)).copied().collect()
    }

    /// Lets every open operation take effect that only looks and reveals nothing; none if one has become hopeless.
    fn absorb(&self, mut config: Config<M::State>, now_ns: u64) -> Option<Config<M::State>> {
        for &entry in &self.open {
            if config.is_done(entry) {
                continue;
            }
            let op = self.op(entry);
            if self.model.hopeless(config.state, op) {
                return None;
            }
            if self.model.only_looks(op) && self.model.step(config.state, op, now_ns) == Some(config.state) {
                config.mark_done(entry);
            }
        }
        Some(config)
    }

    /// Drops the classes that can take effect in no configuration any more.
    fn sweep(&mut self, frontier: &Frontier<M>) {
        let (model, classes) = (self.model, &self.classes);
        self.active
            .retain(|&number| !frontier.iter().all(|config| model.hopeless(config.state, classes[number as usize].op)));
    }
}
