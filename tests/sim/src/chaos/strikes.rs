//! Each fault from its beginning until it is undone.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use kahuna_client::{Options, blocking::Client};
use kahuna_protocol::{
    ErrorCode,
    key::{Condition, KeySet},
};

use super::{
    ChaosError, HostFault,
    hosts::within,
    murk::Manner,
    nemesis::Scene,
    wires::{Way, Wire},
};
use crate::SimRng;

/// How long a start may go on before it is killed again, in milliseconds.
const STARTING_MS: (u64, u64) = (0, 200);
/// How quickly a cut comes and goes, in milliseconds.
const FLAP_MS: (u64, u64) = (10, 300);
/// How often it does.
const FLAPS: (u64, u64) = (3, 12);
/// A disk is full for so long, in milliseconds, and longer until it shows, up to a limit: some segments must be needed.
const FULL_MS: (u64, u64) = (4_000, 10_000);
const FULL_LIMIT: Duration = Duration::from_secs(40);
/// How often what the nodes gave free meanwhile is taken too.
const FILL_EVERY: Duration = Duration::from_secs(1);
/// What is written meanwhile: keys, bytes of each value, between two writes, and how long one is tried.
const SWELL_KEYS: u64 = 16;
const SWELL_BYTES: usize = 24 << 10;
const SWELL_EVERY: Duration = Duration::from_millis(10);
const SWELL_LIMIT: Duration = Duration::from_millis(500);
/// The stream of a fault's seed that these bytes are drawn from.
const STREAM_NOISE: u64 = 1;
/// How long packets may take on slow wires, in microseconds: the least of one fault is below the first, the most between
/// the two.
const SLOW_US: (u64, u64) = (5_000, 120_000);
/// Of a thousand packets so many are lost on lossy wires.
const LOST: (u64, u64) = (10, 250);
/// Room that is left on a full disk, in bytes: less than a segment, and than a snapshot of what is written meanwhile. One that
/// fitted would let the log be cut, and go round in the segments that it has.
const LEFT_BYTES: u64 = 64 << 10;

impl Scene<'_> {
    /// Nothing happens when a minority is in hand already.
    pub(super) fn strike(&self, fault: HostFault, rng: &SimRng) -> Result<(), ChaosError> {
        if fault.is_of_wires() {
            self.strike_wires(fault, rng)
        } else if fault.is_of_all() {
            self.episode(fault, "all".into(), || self.strike_all(fault, rng))
        } else {
            let Some(node) = self.take(rng) else { return Ok(()) };
            self.episode(fault, self.name(node), || self.strike_node(fault, node, rng))
        }
    }

    fn name(&self, host: usize) -> String {
        self.nodes.hosts.all[host].name.clone()
    }

    fn strike_all(&self, fault: HostFault, rng: &SimRng) -> Result<(), ChaosError> {
        let all = 0..self.nodes.count();
        match fault {
            HostFault::KillAll => {
                all.clone().for_each(|at| self.nodes.kill(at));
                for at in all {
                    self.pause(rng, STARTING_MS);
                    self.nodes.start(at)?;
                }
            }
            HostFault::PauseAll => {
                all.clone().for_each(|at| self.nodes.pause(at));
                self.last(rng);
                for at in all {
                    self.nodes.resume(at);
                    self.pause(rng, STARTING_MS);
                }
            }
            _ => self.fill(all, rng)?,
        }
        Ok(())
    }

    fn strike_node(&self, fault: HostFault, node: usize, rng: &SimRng) -> Result<(), ChaosError> {
        match fault {
            HostFault::Kill => {
                self.nodes.kill(node);
                self.last(rng);
            }
            HostFault::KillWhileStarting => {
                for _ in 0..rng.between(1, 4) {
                    self.nodes.kill(node);
                    self.nodes.start(node)?;
                    self.pause(rng, STARTING_MS);
                }
                self.nodes.kill(node);
            }
            HostFault::Restart => self.nodes.stop(node),
            HostFault::Pause => {
                self.nodes.pause(node);
                self.last(rng);
                self.nodes.resume(node);
            }
            _ => self.fill(node..node + 1, rng)?,
        }
        self.nodes.start(node)
    }

    /// Fills disks, and writes much, outside of the history, while they are full: their logs shall need what is not there.
    /// The fault has shown when a node reports it; with all disks full some write must be refused.
    fn fill(&self, full: Range<usize>, rng: &SimRng) -> Result<(), ChaosError> {
        let all = full.len() == self.nodes.count();
        let said = || full.clone().map(|at| self.nodes.full_disks(at)).sum::<u64>();
        let says = || full.clone().any(|at| self.nodes.says_full(at));
        let before = said();
        let left = rng.below(LEFT_BYTES);
        let fill = || full.clone().try_for_each(|at| self.nodes.disks[at].fill(left));
        fill()?;
        let began = Instant::now();
        let least = Duration::from_millis(rng.between(FULL_MS.0, FULL_MS.1));
        let (mut refused, seed) = (0, rng.draw());
        let has_shown = |refused: u64| if all { refused > 0 } else { said() > before || says() };
        within(self.nodes.hosts.client_host(0), || {
            let options = Options { timeout: SWELL_LIMIT, ..Options::new(self.nodes.endpoints()) };
            let client = Client::new(options).map_err(|source| ChaosError::Io { what: "a client".into(), source })?;
            let noise = SimRng::new(seed, STREAM_NOISE);
            let mut names = (0..SWELL_KEYS).map(|number| format!("swell-{number}")).cycle();
            let mut filled = began;
            while !self.stop.is_asked()
                && (began.elapsed() < least || (began.elapsed() < FULL_LIMIT && !has_shown(refused)))
            {
                // A snapshot that was renewed, or a log that was cut, has left room for another round.
                if filled.elapsed() >= FILL_EVERY {
                    fill()?;
                    filled = Instant::now();
                }
                // Nothing that a snapshot could make smaller.
                let value: Vec<u8> = (0..SWELL_BYTES / 8).flat_map(|_| noise.draw().to_le_bytes()).collect();
                let (key, condition) = (names.next().expect("without an end"), Condition::default());
                let written = client.call(KeySet { key: key.into(), value, ttl_ms: None, condition, no_history: true });
                refused += u64::from(written.is_err_and(|error| error.code() == Some(ErrorCode::DiskFull)));
                self.stop.pause(SWELL_EVERY);
            }
            Ok(())
        })?;
        self.nodes.count_full(refused, has_shown(refused) || self.stop.is_asked());
        full.for_each(|at| self.nodes.disks[at].free());
        Ok(())
    }

    fn strike_wires(&self, fault: HostFault, rng: &SimRng) -> Result<(), ChaosError> {
        let hosts = &self.nodes.hosts;
        if fault.is_murky() {
            return self.make_murky(fault, rng);
        }
        let (what, ways) = self.draw_ways(fault, rng);
        self.episode(fault, what, || {
            if fault == HostFault::Flap {
                for _ in 0..rng.between(FLAPS.0, FLAPS.1) {
                    hosts.set(ways.iter().copied(), Wire::Dead)?;
                    self.pause(rng, FLAP_MS);
                    hosts.set(ways.iter().copied(), Wire::Open)?;
                    self.pause(rng, FLAP_MS);
                }
                return Ok(());
            }
            hosts.set(ways.iter().copied(), Wire::Dead)?;
            self.last(rng);
            hosts.set(ways.iter().copied(), Wire::Open)
        })
    }

    fn make_murky(&self, fault: HostFault, rng: &SimRng) -> Result<(), ChaosError> {
        let hosts = &self.nodes.hosts;
        let Some(middleman) = &hosts.middleman else { return Ok(()) };
        let one = self.any(rng);
        let all = rng.below(2) == 0;
        let manner = if fault == HostFault::SlowWires {
            Manner { takes_us: (rng.below(SLOW_US.0), rng.between(SLOW_US.0, SLOW_US.1)), ..Manner::default() }
        } else {
            Manner { lost: rng.between(LOST.0, LOST.1), doubled: rng.below(LOST.1), ..Manner::default() }
        };
        let what = if all { "all".to_owned() } else { self.name(one) };
        self.episode(fault, format!("{what}: {manner}"), || {
            let ways = hosts.ways(|from, to| all || from == one || to == one);
            middleman.behave(manner);
            hosts.set(ways.iter().copied(), Wire::Murky)?;
            self.last(rng);
            hosts.set(ways, Wire::Open)
        })
    }

    /// Which directions a fault cuts, and how that is called.
    fn draw_ways(&self, fault: HostFault, rng: &SimRng) -> (String, Vec<Way>) {
        let (hosts, nodes) = (&self.nodes.hosts, self.nodes.count());
        let one = self.any(rng);
        // Another node.
        let two = (one + 1 + rng.below(nodes as u64 - 1) as usize) % nodes;
        let (first, second) = (self.name(one), self.name(two));
        match fault {
            HostFault::Split => {
                let side: Vec<bool> = hosts.all.iter().map(|_| rng.below(2) == 0).collect();
                let names: Vec<String> = (0..side.len()).filter(|at| side[*at]).map(|at| self.name(at)).collect();
                (format!("{{{}}}", names.join(" ")), hosts.ways(|from, to| side[from] != side[to]))
            }
            HostFault::Link => (
                format!("{first}-{second}"),
                hosts.ways(|from, to| (from, to) == (one, two) || (from, to) == (two, one)),
            ),
            HostFault::OneWay => match rng.below(3) {
                0 => (format!("{first}>{second}"), vec![(one, two)]),
                1 => (format!("{first}>all"), hosts.ways(|from, _| from == one)),
                _ => (format!("all>{first}"), hosts.ways(|_, to| to == one)),
            },
            HostFault::Ring => {
                let near = |from: usize, to: usize| {
                    let apart = from.abs_diff(to);
                    apart == 1 || apart == nodes - 1
                };
                ("all".into(), hosts.ways(|from, to| from < nodes && to < nodes && !near(from, to)))
            }
            HostFault::Flap if rng.below(2) == 0 => (format!("{first}>{second}"), vec![(one, two)]),
            _ => (first, hosts.ways(|from, to| from == one || to == one)),
        }
    }
}
