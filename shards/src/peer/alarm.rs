//! What an operator is told about the nodes' clocks.

use std::fmt;

use kahuna_protocol::NodeId;

use super::skew::SLEW_PPM;

/// What is wrong with the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// This node's clock is off the median of all clocks heard.
    Own,
    /// Two nodes differ, and nobody knows which is wrong.
    Either(NodeId),
}

/// A line for the operator.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alarm {
    pub(super) node: NodeId,
    pub(super) trouble: Option<Trouble>,
    /// How far the own clock is ahead of what it was compared with, in nanoseconds.
    pub(super) off: i64,
    /// How far the clock gone by is behind what the clocks say, in nanoseconds, where that is too far.
    pub(super) behind: Option<i64>,
    pub(super) max_skew_ms: u32,
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.note() {
            None => write!(f, "node {}: the clocks agree again", self.node),
            Some(note) => write!(f, "node {}: ALARM: {note}", self.node),
        }
    }
}

impl Alarm {
    /// What is wrong and what to do, for a person; `None` when all is well.
    pub(super) fn note(&self) -> Option<String> {
        let parts: Vec<String> = self.note_of_clocks().into_iter().chain(self.note_of_lag()).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn note_of_clocks(&self) -> Option<String> {
        let Self { trouble, off, max_skew_ms, .. } = self;
        let millis = off.unsigned_abs() / 1_000_000;
        let side = if *off > 0 { "ahead of" } else { "behind" };
        let allowed = format!("{} ms (half of max_clock_skew_ms = {max_skew_ms}) are allowed", max_skew_ms / 2);
        trouble.map(|trouble| match trouble {
            Trouble::Own => format!(
                "this node's clock is {millis} ms {side} the median of the nodes', and {allowed}; the node goes by the \
                 others' clocks: set its own"
            ),
            Trouble::Either(other) => format!(
                "this node's clock is {millis} ms {side} that of node {other}, and {allowed}; leases may end late: set the \
                 one that is wrong"
            ),
        })
    }

    fn note_of_lag(&self) -> Option<String> {
        let behind = self.behind?.unsigned_abs();
        let (millis, hours) = (behind / 1_000_000, behind / SLEW_PPM.unsigned_abs() * 1_000_000 / 3_600_000_000_000);
        Some(format!(
            "the time that this node goes by is {millis} ms behind the nodes' clocks; it catches up by {SLEW_PPM} us a \
             second (in {hours} h), so that no lease ends early; a restart of the whole cluster, all nodes down at one \
             moment, takes the clocks' time on at once"
        ))
    }
}
