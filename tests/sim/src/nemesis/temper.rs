//! How a nemesis is disposed, in one run.

use super::SimFault;
use crate::{NodeId, SimRng};

/// How wrong wall clocks may be, in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clocks {
    /// All stay within half of the allowed skew of true time.
    Near,
    /// This node's is off by anything up to ten minutes now and then.
    Wild(NodeId),
    /// All nodes' are set back together, by anything up to ten minutes. Forward would end leases early by as much: the
    /// majority of the clocks counts.
    SetBack,
}

impl Clocks {
    /// Whether faults of that kind happen, if all kinds do.
    fn allow(self, fault: SimFault) -> bool {
        match fault {
            SimFault::ClockBeyond => matches!(self, Self::Wild(_)),
            SimFault::ClocksSetBack => self == Self::SetBack,
            _ => true,
        }
    }
}

/// Which faults happen, how many at once, and how long they last.
#[derive(Debug, Clone)]
pub struct Temper {
    kinds: Vec<(SimFault, u64)>,
    /// Most faults at once.
    pub(super) at_once: u64,
    /// Between two episodes, in milliseconds.
    pub(super) calm_ms: (u64, u64),
    /// How long a fault lasts, in milliseconds: from less than a heartbeat to many election timeouts.
    pub(super) last_ms: (u64, u64),
}

impl Temper {
    /// In one of four runs all kinds, in another one changes of leaders alone, one at a time, in the others about half of
    /// all kinds. Of clocks that are off by more than is allowed `clocks` decides.
    pub(super) fn draw(rng: &SimRng, clocks: Clocks) -> Self {
        let (all, terms) = match rng.below(4) {
            0 => (true, false),
            1 => (false, true),
            _ => (false, false),
        };
        let mut kinds = SimFault::ALL.to_vec();
        kinds.retain(|(fault, _)| match fault {
            SimFault::ClockBeyond | SimFault::ClocksSetBack => true,
            fault if fault.is_of_terms() => false,
            _ => rng.below(2) == 0 || all,
        });
        kinds.retain(|(fault, _)| clocks.allow(*fault));
        if kinds.is_empty() {
            kinds = vec![(SimFault::Kill, 1)];
        }
        if terms {
            kinds = SimFault::ALL.into_iter().filter(|(fault, _)| fault.is_of_terms()).collect();
        }
        let longest = [200, 1_000, 2_500, 6_000][rng.below(4) as usize];
        let calmest = [50, 500, 1_500][rng.below(3) as usize];
        let at_once = rng.between(1, 5);
        Self { kinds, at_once: if terms { 1 } else { at_once }, calm_ms: (10, calmest), last_ms: (5, longest) }
    }

    /// One of the kinds, by their weights.
    pub(super) fn fault(&self, rng: &SimRng) -> SimFault {
        let total = self.kinds.iter().map(|(_, weight)| weight).sum();
        let mut at = rng.below(total);
        for (fault, weight) in &self.kinds {
            if at < *weight {
                return *fault;
            }
            at -= weight;
        }
        unreachable!("a number below the sum of the weights falls on one of them")
    }
}
