//! The kinds of faults.

use serde::{Deserialize, Serialize};

/// What can happen to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SimFault {
    /// A process is killed and starts again later.
    Kill,
    /// All processes are killed at once.
    KillAll,
    /// A host loses its power and what was not durable.
    PowerLoss,
    /// All hosts lose their power at once.
    PowerLossAll,
    /// A majority of the hosts loses its power right after a client was answered.
    PowerLossAtAck,
    /// A process is killed again and again while it starts.
    KillWhileStarting,
    /// A process is asked to stop, and starts again.
    Restart,
    /// A process starts again with another number of shards.
    Reshard,
    /// A node starts again at another address of its peers, without a word to the others.
    Move,
    /// All nodes start again at other addresses at once, with a list of the new ones.
    MoveAll,
    /// A process stands still and goes on.
    Pause,
    /// One shard of a process that runs several stands still and goes on, not the one that answers pulses.
    HangShard,
    /// Every operation of a kind fails on one disk; the process ends itself.
    DiskFails,
    /// A disk is slow.
    SlowDisk,
    /// A wall clock jumps.
    ClockJump,
    /// A wall clock runs too fast or too slow.
    ClockDrift,
    /// A node is cut off from all others and from the clients.
    Isolate,
    /// The nodes fall into two parts.
    Split,
    /// Nothing passes between two processes in one direction.
    OneWayCut,
    /// A cut that comes and goes quickly.
    Flap,
    /// Connections of a node break.
    Reset,
    /// A client's connections break.
    ClientReset,
    /// All messages take long, and overtake each other on different connections.
    SlowNetwork,
    /// Some links are slow, each direction in its own way.
    SlowLink,
    /// Connections break for one side; what it had sent arrives later, and only then the other side learns.
    LateReset,
    /// A client ends in the middle of what it does, and another one begins.
    ClientRestart,
    /// The log of one shard is gone.
    LogLost,
    /// A byte of a log rots.
    LogRots,
    /// A group's snapshots rot.
    SnapshotRots,
    /// A disk fills up, and is freed again.
    DiskFull,
    /// A wall clock is off by more than is allowed, by a second up to ten minutes; it is set right later. Of one node in a
    /// run.
    ClockBeyond,
    /// All wall clocks are set back together, by a second up to ten minutes, and stay so.
    ClocksSetBack,
    /// A new leader is cut off, and those who elected it lose their power at once.
    VotersLosePower,
    /// Followers start again while the lease that they gave lasts, beside one that gave none.
    RestartInLease,
    /// One leader after the other is cut off soon after its election.
    LeaderAfterLeader,
    /// A leader is elected again with entries of its own that no other replica has, is cut off once a majority has the
    /// first of them, and a leader of a term in between comes back.
    OlderTermOnMajority,
    /// A log rots of a node that made up a majority; those who have what it acknowledged are cut off.
    RotInMajority,
}

impl SimFault {
    /// Every kind, each with how often it is drawn in proportion to the others.
    pub const ALL: [(Self, u64); 37] = [
        (Self::Kill, 4),
        (Self::KillAll, 1),
        (Self::PowerLoss, 4),
        (Self::PowerLossAll, 1),
        (Self::PowerLossAtAck, 2),
        (Self::KillWhileStarting, 2),
        (Self::Restart, 2),
        (Self::Reshard, 2),
        (Self::Move, 2),
        (Self::MoveAll, 1),
        (Self::Pause, 3),
        (Self::HangShard, 3),
        (Self::DiskFails, 3),
        (Self::SlowDisk, 2),
        (Self::ClockJump, 2),
        (Self::ClockDrift, 2),
        (Self::Isolate, 3),
        (Self::Split, 3),
        (Self::OneWayCut, 3),
        (Self::Flap, 2),
        (Self::Reset, 3),
        (Self::ClientReset, 2),
        (Self::SlowNetwork, 2),
        (Self::SlowLink, 3),
        (Self::LateReset, 2),
        (Self::ClientRestart, 2),
        (Self::LogLost, 1),
        (Self::LogRots, 2),
        (Self::SnapshotRots, 2),
        (Self::DiskFull, 3),
        (Self::ClockBeyond, 2),
        (Self::ClocksSetBack, 2),
        (Self::VotersLosePower, 3),
        (Self::RestartInLease, 3),
        (Self::LeaderAfterLeader, 3),
        (Self::OlderTermOnMajority, 3),
        (Self::RotInMajority, 3),
    ];

    /// Whether it is a change of leaders at a chosen moment, which takes all nodes.
    pub(super) fn is_of_terms(self) -> bool {
        matches!(
            self,
            Self::VotersLosePower | Self::RestartInLease | Self::LeaderAfterLeader | Self::OlderTermOnMajority
        )
    }

    /// Its name in reports.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// A fault that has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struck {
    /// Its number in the run's schedule, from 1. It stays the same when others are left out.
    pub number: u64,
    /// Kind and victims of the fault.
    pub fault: SimFault,
    /// When it began, in milliseconds of virtual time.
    pub at_ms: u64,
    /// How long it took until it was undone, in milliseconds.
    pub for_ms: u64,
}
