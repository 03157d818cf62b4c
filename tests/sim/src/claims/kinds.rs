//! The kinds of steps, and the order in which a client takes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::SimRng;

/// What a client can do in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Keys as registers.
    Keys,
    /// Locks.
    Locks,
    /// Sequences.
    Sequences,
    /// One request to two nodes.
    Duplicates,
    /// Keys with a time to live.
    Lives,
    /// Scans of several pages.
    Cuts,
    /// The past of keys.
    Past,
    /// Appends to keys, and whether keys exist.
    Appends,
}

impl Workload {
    /// Every kind, and the average distance of two steps of it.
    const ALL: [(Self, u64); 8] = [
        (Self::Keys, 20),
        (Self::Locks, 60),
        (Self::Sequences, 90),
        (Self::Duplicates, 120),
        (Self::Lives, 90),
        (Self::Cuts, 90),
        (Self::Past, 120),
        (Self::Appends, 90),
    ];

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().map(|(kind, _)| kind)
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }
}

/// The order of a client's steps. Every kind draws the times and the content of its steps from a stream of its own, and
/// every step has a stream too: the course of one step shifts no other, and neither does a kind that is left out or added.
#[derive(Debug)]
pub(super) struct Rota(BTreeMap<Workload, Turn>);

#[derive(Debug)]
struct Turn {
    stream: SimRng,
    apart: u64,
    next: u64,
}

impl Turn {
    fn pass(&mut self) {
        self.next += self.stream.between(1, 2 * self.apart);
    }
}

impl Rota {
    /// The order that `rng` decides.
    pub(super) fn new(rng: &SimRng) -> Self {
        let seed = rng.draw();
        let turns = Workload::ALL.into_iter().map(|(kind, apart)| {
            let mut turn = Turn { stream: SimRng::new(seed, kind as u64), apart, next: 0 };
            turn.pass();
            (kind, turn)
        });
        Self(turns.collect())
    }

    /// The next step, and the stream it draws from.
    pub(super) fn next(&mut self) -> (Workload, SimRng) {
        let first = self.0.iter_mut().min_by_key(|(_, turn)| turn.next);
        let (kind, turn) = first.expect("there are kinds");
        turn.pass();
        (*kind, SimRng::new(turn.stream.draw(), *kind as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first steps of a kind: what each of them would draw.
    fn steps(mut rota: Rota, kind: Workload) -> Vec<u64> {
        let turns = (0..1_000).map(|_| rota.next()).filter(|(other, _)| *other == kind);
        turns.map(|(_, rng)| rng.draw()).take(10).collect()
    }

    #[test]
    fn a_kind_that_is_left_out_shifts_no_other() {
        let rota = || Rota::new(&SimRng::new(1, 0));
        for kind in Workload::all().filter(|kind| *kind != Workload::Keys) {
            let whole = steps(rota(), kind);
            assert_eq!((whole.len(), &steps(rota(), kind)), (10, &whole));
            let mut without_keys = rota();
            without_keys.0.remove(&Workload::Keys);
            assert_eq!(steps(without_keys, kind), whole, "{kind:?}");
        }
    }

    #[test]
    fn every_kind_comes_as_often_as_it_should() {
        let mut rota = Rota::new(&SimRng::new(2, 0));
        let mut counts = BTreeMap::new();
        for _ in 0..10_000 {
            *counts.entry(rota.next().0).or_insert(0_u64) += 1;
        }
        for (kind, apart) in Workload::ALL {
            // All kinds together come 0.128 times in one unit.
            let expected = 78_261 / apart;
            assert!((expected * 9 / 10..=expected * 11 / 10).contains(&counts[&kind]), "{kind:?}: {counts:?}");
        }
    }
}
