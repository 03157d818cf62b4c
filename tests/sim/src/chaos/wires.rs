//! Wires between hosts: each direction of each is open, dead, or murky.

use std::{collections::BTreeMap, fmt::Write};

use super::{ChaosError, hosts::Hosts, murk, tools};

/// No host has it: what is sent there arrives nowhere.
const NOWHERE: &str = "02:00:00:00:ff:ff";

/// What becomes of packets from one host to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Open,
    Dead,
    /// As the middleman behaves.
    Murky,
}

/// A direction: from one host to another, by their numbers.
pub(super) type Way = (usize, usize);

impl Hosts {
    /// Sets directions, all of one sender at once.
    ///
    /// # Errors
    /// `NotAllowed` when `ip` cannot.
    pub(super) fn set(&self, ways: impl IntoIterator<Item = Way>, wire: Wire) -> Result<(), ChaosError> {
        let mut by_sender: BTreeMap<usize, String> = BTreeMap::new();
        for (from, to) in ways {
            let target = &self.all[to];
            let mac = match wire {
                Wire::Open => target.mac(),
                Wire::Dead => NOWHERE.to_owned(),
                Wire::Murky => murk::MAC.to_owned(),
            };
            // Writing to a String does not fail.
            let _ = writeln!(
                by_sender.entry(from).or_default(),
                "neigh replace {} lladdr {mac} dev eth0 nud permanent",
                target.address
            );
        }
        for (from, lines) in by_sender {
            tools::feed("ip", &["-n", &self.all[from].namespace, "-batch", "-"], &lines)?;
        }
        Ok(())
    }

    /// Opens every wire.
    ///
    /// # Errors
    /// `NotAllowed` when `ip` cannot.
    pub(super) fn mend(&self) -> Result<(), ChaosError> {
        self.set(self.ways(|_, _| true), Wire::Open)
    }

    /// All directions between two hosts that fit.
    pub(super) fn ways(&self, fits: impl Fn(usize, usize) -> bool) -> Vec<Way> {
        let all = 0..self.all.len();
        let pairs = all.clone().flat_map(|from| all.clone().map(move |to| (from, to)));
        pairs.filter(|&(from, to)| from != to && fits(from, to)).collect()
    }
}
