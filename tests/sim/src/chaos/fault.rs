//! The kinds of faults.

use serde::Serialize;

/// What can happen to a cluster of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HostFault {
    /// A process is killed and starts again later.
    Kill,
    /// All processes are killed at once.
    KillAll,
    /// A process is killed again and again while it starts.
    KillWhileStarting,
    /// A process is asked to stop, and starts again.
    Restart,
    /// A process stands still and goes on.
    Pause,
    /// All processes stand still and go on, one after the other.
    PauseAll,
    /// A node's disk has no room.
    DiskFull,
    /// No disk has room.
    DiskFullAll,
    /// A host is cut off from all others, clients included.
    Isolate,
    /// The hosts fall into two parts, of nodes and clients.
    Split,
    /// Nothing passes between two nodes; both reach all others.
    Link,
    /// Nothing passes in one direction: from one node to another, from one to all, or from all to one.
    OneWay,
    /// Each node reaches its two neighbours in a ring, and no other node. Needs four nodes.
    Ring,
    /// A cut that comes and goes quickly.
    Flap,
    /// Packets take long and overtake each other, on the wires of one host or on all.
    SlowWires,
    /// Packets are lost, others arrive twice, on the wires of one host or on all.
    LossyWires,
}

impl HostFault {
    /// Every kind, each with how often it is drawn in proportion to the others.
    pub const ALL: [(Self, u64); 16] = [
        (Self::Kill, 4),
        (Self::KillAll, 1),
        (Self::KillWhileStarting, 2),
        (Self::Restart, 2),
        (Self::Pause, 4),
        (Self::PauseAll, 1),
        (Self::DiskFull, 2),
        (Self::DiskFullAll, 2),
        (Self::Isolate, 3),
        (Self::Split, 3),
        (Self::Link, 2),
        (Self::OneWay, 4),
        (Self::Ring, 2),
        (Self::Flap, 3),
        (Self::SlowWires, 3),
        (Self::LossyWires, 3),
    ];

    /// Its name in reports.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether a cluster of that many nodes can have it.
    pub(super) fn fits(self, nodes: usize) -> bool {
        self != Self::Ring || nodes > 3
    }

    /// Whether it changes wires; only one does at any time.
    pub(super) fn is_of_wires(self) -> bool {
        let cuts = matches!(self, Self::Isolate | Self::Split | Self::Link | Self::OneWay | Self::Ring | Self::Flap);
        cuts || self.is_murky()
    }

    /// Whether packets go by the middleman.
    pub(super) fn is_murky(self) -> bool {
        matches!(self, Self::SlowWires | Self::LossyWires)
    }

    /// Whether it strikes all nodes, and so must be alone.
    pub(super) fn is_of_all(self) -> bool {
        matches!(self, Self::KillAll | Self::PauseAll | Self::DiskFullAll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<String> = HostFault::ALL.iter().map(|(fault, _)| fault.name()).collect();
        assert_eq!(names.len(), HostFault::ALL.len());
        assert!(names.contains("disk_full_all"));
    }
}
