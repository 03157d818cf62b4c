//! The schedule.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use kahuna_client::{CallOptions, Options, blocking::Client};
use kahuna_protocol::meta::MapGet;
use serde::Serialize;

use super::{ChaosError, HostFault, Plan, Stop, nodes::Nodes, plan::Temper};
use crate::SimRng;

/// The stream of the seed that the schedule draws from; that of each fault comes behind it.
const STREAM_SCHEDULE: u64 = 1_000_000;
/// How long a look for leaders may take.
const LOOK_LIMIT: Duration = Duration::from_millis(300);

/// A fault that happened, in nanoseconds of the history's clock.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Episode {
    pub fault: HostFault,
    /// What it struck.
    pub what: String,
    pub begin_ns: u64,
    pub end_ns: u64,
}

/// Breaks a cluster and mends it again.
#[derive(Debug)]
pub(super) struct Nemesis<'a> {
    pub(super) nodes: &'a Nodes,
    pub(super) stop: Stop,
    temper: Temper,
    seed: u64,
    kinds: Vec<(HostFault, u64)>,
    schedule: SimRng,
    /// Faults drawn so far.
    drawn: u64,
}

/// What faults that happen at once share. In it only what threads may share.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) nodes: &'a Nodes,
    pub(super) stop: &'a Stop,
    pub(super) temper: Temper,
    /// Nodes that lead something.
    leaders: BTreeSet<usize>,
    /// Nodes that a fault has in hand: never more than a minority, unless all.
    taken: Mutex<BTreeSet<usize>>,
    episodes: Mutex<Vec<Episode>>,
}

impl<'a> Nemesis<'a> {
    pub(super) fn new(plan: &Plan, nodes: &'a Nodes, stop: Stop) -> Self {
        let mut kinds = HostFault::ALL.to_vec();
        let can_be_murky = nodes.hosts.middleman.is_some();
        kinds.retain(|(fault, _)| fault.fits(plan.nodes) && (can_be_murky || !fault.is_murky()));
        Self {
            nodes,
            stop,
            temper: plan.profile.temper(),
            seed: plan.seed,
            kinds,
            schedule: SimRng::new(plan.seed, STREAM_SCHEDULE),
            drawn: 0,
        }
    }

    /// Lets faults happen for so long, and mends everything. What happened.
    ///
    /// # Errors
    /// See [`ChaosError`].
    pub(super) fn rage(&mut self, duration: Duration) -> Result<Vec<Episode>, ChaosError> {
        let began = Instant::now();
        let mut episodes = Vec::new();
        let (least, most) = self.temper.calm_ms;
        let nodes = self.nodes;
        while began.elapsed() < duration && self.stop.pause(Duration::from_millis(self.schedule.between(least, most))) {
            let faults = self.draw_episode();
            let scene = Scene {
                nodes,
                stop: &self.stop,
                temper: self.temper,
                leaders: leaders(nodes),
                taken: Mutex::default(),
                episodes: Mutex::default(),
            };
            let (scene, seed) = (&scene, self.seed);
            thread::scope(|scope| {
                let strikes: Vec<_> = faults
                    .into_iter()
                    .map(|(fault, stream)| scope.spawn(move || scene.strike(fault, &SimRng::new(seed, stream))))
                    .collect();
                strikes.into_iter().try_for_each(|strike| strike.join().expect("a fault does not panic"))
            })?;
            episodes.extend(scene.episodes.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
            nodes.look()?;
        }
        nodes.mend()?;
        Ok(episodes)
    }

    /// Faults that may happen at once, each with its stream of the seed.
    fn draw_episode(&mut self) -> Vec<(HostFault, u64)> {
        let mut drawn: Vec<(HostFault, u64)> = Vec::new();
        for _ in 0..self.schedule.between(1, self.temper.at_once) {
            let fault = self.draw();
            self.drawn += 1;
            let alone = fault.is_of_all() || drawn.iter().any(|(other, _)| other.is_of_all());
            let wires = fault.is_of_wires() && drawn.iter().any(|(other, _)| other.is_of_wires());
            if drawn.is_empty() || !(alone || wires) {
                drawn.push((fault, STREAM_SCHEDULE + self.drawn));
            }
        }
        drawn
    }

    fn draw(&self) -> HostFault {
        let total = self.kinds.iter().map(|(_, weight)| weight).sum();
        let mut at = self.schedule.below(total);
        for (fault, weight) in &self.kinds {
            if at < *weight {
                return *fault;
            }
            at -= weight;
        }
        unreachable!("a number below the sum of the weights falls on one of them")
    }
}

/// Nodes that lead some group, by the status of any node; empty when no node answers in time.
fn leaders(nodes: &Nodes) -> BTreeSet<usize> {
    let Ok(client) = Client::new(Options { timeout: LOOK_LIMIT, ..Options::new(nodes.endpoints()) }) else {
        return BTreeSet::new();
    };
    let Ok(map) = client.call_with(MapGet {}, CallOptions::default()) else { return BTreeSet::new() };
    let leaders = map.ranges.ranges.iter().filter_map(|range| (range.leader.0 as usize).checked_sub(1));
    leaders.filter(|at| *at < nodes.count()).collect()
}

impl Scene<'_> {
    /// A node that no other fault has in hand, which is now in ours; every other time one that leads something, if there is
    /// one. `None` when a minority is taken already.
    pub(super) fn take(&self, rng: &SimRng) -> Option<usize> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() >= (self.nodes.count() - 1) / 2 {
            return None;
        }
        let node = self.draw_node(rng, |node| !taken.contains(&node))?;
        taken.insert(node);
        Some(node)
    }

    /// Any node, every other time one that leads something.
    pub(super) fn any(&self, rng: &SimRng) -> usize {
        self.draw_node(rng, |_| true).expect("a cluster has nodes")
    }

    fn draw_node(&self, rng: &SimRng, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let mut nodes: Vec<usize> = (0..self.nodes.count()).filter(|node| fits(*node)).collect();
        if rng.below(2) == 0 && nodes.iter().any(|node| self.leaders.contains(node)) {
            nodes.retain(|node| self.leaders.contains(node));
        }
        nodes.get(rng.below(nodes.len() as u64) as usize).copied()
    }

    /// Carries a fault out and takes note of it.
    pub(super) fn episode(
        &self,
        fault: HostFault,
        what: String,
        happen: impl FnOnce() -> Result<(), ChaosError>,
    ) -> Result<(), ChaosError> {
        let recorder = &self.nodes.recorder;
        let begin_ns = recorder.now_ns();
        happen()?;
        let episode = Episode { fault, what, begin_ns, end_ns: recorder.now_ns() };
        self.episodes.lock().unwrap_or_else(PoisonError::into_inner).push(episode);
        Ok(())
    }

    /// Waits for as long as a fault lasts.
    pub(super) fn last(&self, rng: &SimRng) {
        self.pause(rng, self.temper.last_ms);
    }

    pub(super) fn pause(&self, rng: &SimRng, (least, most): (u64, u64)) {
        // Asked for the end, the fault is undone as ever.
        self.stop.pause(Duration::from_millis(rng.between(least, most)));
    }
}
