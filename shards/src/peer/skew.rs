//! Are the nodes' wall clocks close enough? Leases and expiries rest on it.
//!
//! Wall clock is compared with wall clock, never with the hybrid clock, which follows the fastest node. With three or
//! more nodes the median tells who is wrong; with two it is only known that they differ.

use std::fmt;
use std::time::Duration;

use kahuna_protocol::NodeId;

/// An alarm that goes on is repeated this often.
const REPEAT_EVERY: Duration = Duration::from_secs(60);

/// Another node's clock, as one round trip showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    pub(super) node: NodeId,
    /// How far it is ahead of ours, in nanoseconds.
    pub(super) ahead: i64,
    /// How long the question took: the offset is known to half of that.
    pub(super) round_trip: Duration,
}

/// What is wrong with the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// This node's clock is off the median of all clocks heard.
    Own,
    /// Two nodes differ, and nobody knows which is wrong.
    Either(NodeId),
}

/// A line for the operator.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alarm {
    node: NodeId,
    trouble: Option<Trouble>,
    off: i64,
    max_skew_ms: u32,
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, trouble, off, max_skew_ms } = self;
        let millis = off.unsigned_abs() / 1_000_000;
        let side = if *off > 0 { "ahead of" } else { "behind" };
        let half = max_skew_ms / 2;
        match trouble {
            None => write!(f, "node {node}: the clocks agree again"),
            Some(Trouble::Own) => write!(
                f,
                "node {node}: ALARM: this node's clock is {millis} ms {side} the median of the nodes', and {half} ms \
                 (half of max_clock_skew_ms = {max_skew_ms}) are allowed; leases may end early or late: set the clock"
            ),
            Some(Trouble::Either(other)) => write!(
                f,
                "node {node}: ALARM: this node's clock is {millis} ms {side} that of node {other}, and {half} ms (half of \
                 max_clock_skew_ms = {max_skew_ms}) are allowed; leases may end early or late: set the one that is wrong"
            ),
        }
    }
}

/// The judge of one node's clock.
#[derive(Debug)]
pub(super) struct Skew {
    node: NodeId,
    max_skew_ms: u32,
    trouble: Option<Trouble>,
    said_at: Duration,
}

impl Skew {
    /// For the node `node`, whose clocks may differ by `max_skew_ms`.
    pub(super) fn new(node: NodeId, max_skew_ms: u32) -> Self {
        Self { node, max_skew_ms, trouble: None, said_at: Duration::ZERO }
    }

    /// Looks at what was heard since the last time; the line to print, if there is something new to say.
    pub(super) fn judge(&mut self, offsets: &[Offset], now: Duration) -> Option<Alarm> {
        if offsets.is_empty() {
            return None;
        }
        let (off, blur, suspect) = own_error(offsets);
        let allowed = i64::from(self.max_skew_ms) * 1_000_000 / 2;
        let trouble = (off.saturating_abs().saturating_sub(blur) > allowed).then_some(suspect);
        let changed = trouble != self.trouble;
        if !changed && (trouble.is_none() || now < self.said_at + REPEAT_EVERY) {
            return None;
        }
        self.trouble = trouble;
        self.said_at = now;
        Some(Alarm { node: self.node, trouble, off, max_skew_ms: self.max_skew_ms })
    }
}

/// How far our own clock is ahead, what that is known to, both in nanoseconds, and who may be wrong.
fn own_error(offsets: &[Offset]) -> (i64, i64, Trouble) {
    let blur = |offset: &Offset| i64::try_from(offset.round_trip.as_nanos() / 2).unwrap_or(i64::MAX);
    if let [other] = offsets {
        return (other.ahead.saturating_neg(), blur(other), Trouble::Either(other.node));
    }
    let mut clocks: Vec<(i64, i64)> = offsets.iter().map(|offset| (offset.ahead, blur(offset))).collect();
    clocks.push((0, 0));
    clocks.sort_unstable();
    // Of an even number the one nearer to ours: an alarm that is raised is certain.
    let (lower, upper) = (clocks[(clocks.len() - 1) / 2], clocks[clocks.len() / 2]);
    let (median, blur) = if lower.0.unsigned_abs() <= upper.0.unsigned_abs() { lower } else { upper };
    (median.saturating_neg(), blur, Trouble::Own)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const NOW: Duration = Duration::from_secs(1000);

    fn offsets(ahead_ms: &[i64]) -> Vec<Offset> {
        let heard = ahead_ms.iter().zip(2..);
        heard.map(|(ms, node)| Offset { node: NodeId(node), ahead: ms * MS, round_trip: Duration::ZERO }).collect()
    }

    fn judge(ahead_ms: &[i64]) -> Option<(Trouble, i64)> {
        let alarm = Skew::new(NodeId(1), 250).judge(&offsets(ahead_ms), NOW)?;
        Some((alarm.trouble?, alarm.off / MS))
    }

    #[test]
    fn the_median_tells_who_is_wrong() {
        assert_eq!(judge(&[0, 126]), None, "node 3 is wrong, and says so itself");
        assert_eq!(judge(&[126, 130]), Some((Trouble::Own, -126)));
        assert_eq!(judge(&[-140, -126]), Some((Trouble::Own, 126)));
        assert_eq!(judge(&[125, 125]), None, "half of the limit is allowed");
        assert_eq!(judge(&[500, -500, 500, -500]), None);
        assert_eq!(judge(&[500, 500, 3]), None, "four clocks, two against two");
    }

    #[test]
    fn two_nodes_only_differ() {
        assert_eq!(judge(&[126]), Some((Trouble::Either(NodeId(2)), -126)));
        assert_eq!(judge(&[-125]), None);
        assert_eq!(judge(&[]), None);
    }

    #[test]
    fn a_slow_round_trip_proves_nothing() {
        let heard = |millis| [Offset { node: NodeId(2), ahead: 200 * MS, round_trip: Duration::from_millis(millis) }];
        assert!(Skew::new(NodeId(1), 250).judge(&heard(149), NOW).is_some());
        assert!(Skew::new(NodeId(1), 250).judge(&heard(150), NOW).is_none());
    }

    #[test]
    fn an_alarm_is_said_once_a_minute_and_when_it_ends() {
        let mut skew = Skew::new(NodeId(1), 250);
        let second = Duration::from_secs(1);
        assert!(skew.judge(&offsets(&[300, 300]), NOW).is_some());
        assert!(skew.judge(&offsets(&[310, 300]), NOW + second).is_none());
        assert!(skew.judge(&offsets(&[310, 300]), NOW + REPEAT_EVERY).is_some());
        let end = skew.judge(&offsets(&[0, 1]), NOW + REPEAT_EVERY + second).expect("said");
        assert_eq!(end.to_string(), "node 1: the clocks agree again");
        assert!(skew.judge(&offsets(&[0, 1]), NOW + 3 * REPEAT_EVERY).is_none());
    }
}
