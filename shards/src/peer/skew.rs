//! Which clock a node goes by, and whether its own is close enough to the others'. Leases and expiries rest on it.
//!
//! ```text
//!   heard                                     the agreed clock is
//!   own within half of max_clock_skew         the own one
//!   three or more, own outside of the medians the nearer median
//!   two that differ                           the one agreed on before; else the other's word for it; else the slower
//!   none                                      the one agreed on before; on a node that is alone the own one
//! ```
//! Fewer than a majority of the known nodes do not move a clock that is sure: a rack that was cut off with a time server of
//! its own leads nothing either. Wall clock is compared with wall clock, never with the hybrid clock, which follows the
//! fastest node. The slower of two ends no lease early. All clocks are given as what they are ahead of the boot clock: a
//! jump of the host's clock between two judgements then spoils no measurement.

use std::fmt;
use std::time::Duration;

use kahuna_protocol::NodeId;

use crate::clock::Agreed;

/// An alarm that goes on is repeated this often.
const REPEAT_EVERY: Duration = Duration::from_secs(60);

/// Another node's clock, as one round trip showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    pub(super) node: NodeId,
    /// What its wall clock is ahead of this host's boot clock, in nanoseconds.
    pub(super) minus_boot: i64,
    /// The same of the clock that it goes by, once that was judged. It counts where two differ.
    pub(super) agreed: Option<i64>,
    /// How long the question took: the clock is known to half of that.
    pub(super) round_trip: Duration,
}

impl Offset {
    /// What the clock is known to, in nanoseconds.
    fn blur(&self) -> i64 {
        i64::try_from(self.round_trip.as_nanos() / 2).unwrap_or(i64::MAX)
    }
}

/// What is wrong with the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// This node's clock is off the median of all clocks heard.
    Own,
    /// The clocks of two nodes differ, and it cannot be decided which is wrong.
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
        match self.note() {
            None => write!(f, "node {}: the clocks agree again", self.node),
            Some(note) => write!(f, "node {}: ALARM: {note}", self.node),
        }
    }
}

impl Alarm {
    /// What is wrong and what to do, for a person; `None` when all is well.
    pub(super) fn note(&self) -> Option<String> {
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
}

/// The judge of one node's clock.
#[derive(Debug)]
pub(super) struct Skew {
    node: NodeId,
    max_skew_ms: u32,
    agreed: Option<Agreed>,
    trouble: Option<Trouble>,
    said_at: Duration,
}

/// What one look at the clocks shows.
struct Look {
    agreed: Agreed,
    /// How far the own clock is ahead of what it was compared with, in nanoseconds.
    off: i64,
    trouble: Option<Trouble>,
}

impl Skew {
    /// For the node `node`, whose clocks may differ by `max_skew_ms`.
    pub(super) fn new(node: NodeId, max_skew_ms: u32) -> Self {
        Self { node, max_skew_ms, agreed: None, trouble: None, said_at: Duration::ZERO }
    }

    /// The clock to go by; `None` before the first judgement.
    pub(super) fn agreed(&self) -> Option<Agreed> {
        self.agreed
    }

    /// The node has no others to ask: it goes by its `own` clock.
    pub(super) fn alone(&mut self, own: i64) {
        self.agreed = Some(Agreed { minus_boot: own, sure: true });
    }

    /// Looks at what was heard of `others` nodes since the last time, and at the `own` wall clock, as what it is ahead of the
    /// boot clock; the line to print, if there is something new to say.
    pub(super) fn judge(&mut self, own: i64, offsets: &[Offset], others: usize, now: Duration) -> Option<Alarm> {
        let is_majority = 2 * (offsets.len() + 1) > others + 1;
        if !is_majority && self.agreed.is_some_and(|agreed| agreed.sure) {
            return None;
        }
        let look = match offsets {
            [] => return None,
            [other] => self.look_at_one(own, other),
            others => self.look_at_all(own, others),
        };
        self.agreed = Some(look.agreed);
        let changed = look.trouble != self.trouble;
        if !changed && (look.trouble.is_none() || now < self.said_at + REPEAT_EVERY) {
            return None;
        }
        self.trouble = look.trouble;
        self.said_at = now;
        Some(Alarm { node: self.node, trouble: look.trouble, off: look.off, max_skew_ms: self.max_skew_ms })
    }

    /// Whether the `own` clock and that of the only `other` node heard differ, so that a third one had better be waited for.
    pub(super) fn is_in_doubt(&self, own: i64, other: &Offset) -> bool {
        self.look_at_one(own, other).trouble.is_some()
    }

    /// By how much the own clock may be off, in nanoseconds. One that was wrong must come nearer before it counts again:
    /// the agreed clock does not go to and fro.
    fn allowed(&self) -> i64 {
        let half = i64::from(self.max_skew_ms) * 1_000_000 / 2;
        if self.trouble.is_some() { half / 2 } else { half }
    }

    fn look_at_one(&self, own: i64, other: &Offset) -> Look {
        let off = own.saturating_sub(other.minus_boot);
        if off.saturating_abs().saturating_sub(other.blur()) <= self.allowed() {
            return Look { agreed: Agreed { minus_boot: own, sure: true }, off, trouble: None };
        }
        let agreed = self.agreed.unwrap_or_else(|| {
            let slower = own.min(other.minus_boot);
            // The earliest that it can be: late is safe.
            let theirs = other.agreed.map(|agreed| agreed.saturating_sub(other.blur()));
            Agreed { minus_boot: theirs.unwrap_or(slower), sure: false }
        });
        Look { agreed, off, trouble: Some(Trouble::Either(other.node)) }
    }

    fn look_at_all(&self, own: i64, others: &[Offset]) -> Look {
        let mut clocks: Vec<(i64, i64)> = others.iter().map(|other| (other.minus_boot, other.blur())).collect();
        clocks.push((own, 0));
        clocks.sort_unstable();
        // Of an even number the one nearer to ours: who is said to be wrong is.
        let (lower, upper) = (clocks[(clocks.len() - 1) / 2], clocks[clocks.len() / 2]);
        let (median, blur) = if own > upper.0 { upper } else { lower };
        let off = if (lower.0..=upper.0).contains(&own) { 0 } else { own.saturating_sub(median) };
        if off.saturating_abs().saturating_sub(blur) <= self.allowed() {
            return Look { agreed: Agreed { minus_boot: own, sure: true }, off, trouble: None };
        }
        // A measurement that is no better than the clock gone by so far does not move it.
        let kept = self.agreed.filter(|kept| kept.minus_boot.saturating_sub(median).saturating_abs() <= blur);
        let minus_boot = kept.map_or(median, |kept| kept.minus_boot);
        Look { agreed: Agreed { minus_boot, sure: true }, off, trouble: Some(Trouble::Own) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const NOW: Duration = Duration::from_secs(1000);
    const OWN: i64 = 7_000_000 * MS;

    fn offsets(ahead_ms: &[i64]) -> Vec<Offset> {
        let heard = ahead_ms.iter().zip(2..);
        let offset = |(ms, node): (&i64, u32)| Offset {
            node: NodeId(node),
            minus_boot: OWN + ms * MS,
            agreed: None,
            round_trip: Duration::ZERO,
        };
        heard.map(offset).collect()
    }

    /// A look at the clocks of all nodes.
    fn look(skew: &mut Skew, offsets: &[Offset], now: Duration) -> Option<Alarm> {
        skew.judge(OWN, offsets, offsets.len(), now)
    }

    fn judge(ahead_ms: &[i64]) -> Option<(Trouble, i64)> {
        let alarm = look(&mut Skew::new(NodeId(1), 250), &offsets(ahead_ms), NOW)?;
        Some((alarm.trouble?, alarm.off / MS))
    }

    /// What a node goes by that heard this, one list after the other: milliseconds ahead of its own clock, and whether it is
    /// sure.
    fn goes_by(heard: &[&[i64]]) -> Option<(i64, bool)> {
        let mut skew = Skew::new(NodeId(1), 250);
        for ahead_ms in heard {
            look(&mut skew, &offsets(ahead_ms), NOW);
        }
        skew.agreed().map(|agreed| ((agreed.minus_boot - OWN) / MS, agreed.sure))
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
    fn a_node_whose_clock_is_off_goes_by_the_others() {
        assert_eq!(goes_by(&[&[0, 120_000]]), Some((0, true)), "another one is off");
        assert_eq!(goes_by(&[&[-120_000, -119_990]]), Some((-120_000 + 10, true)), "ahead: the upper median");
        assert_eq!(goes_by(&[&[120_000, 119_990]]), Some((119_990, true)), "behind: the lower one");
        assert_eq!(goes_by(&[&[-120_000, -120_000], &[0, 1]]), Some((0, true)), "it was set right");
        assert_eq!(goes_by(&[&[-120_000, -120_000], &[-100, -100]]), Some((-100, true)), "nearly right is not enough");
        assert_eq!(goes_by(&[&[-120_000, 120_000]]), Some((0, true)), "each is off in its own way");
        assert_eq!(goes_by(&[&[-9_000, -9_000, 0, 0]]), Some((0, true)));
    }

    #[test]
    fn what_was_agreed_on_outlasts_the_silence_of_the_others() {
        assert_eq!(goes_by(&[&[]]), None, "nobody was heard");
        assert_eq!(goes_by(&[&[-120_000, -120_000], &[]]), Some((-120_000, true)));
        assert_eq!(goes_by(&[&[-120_000, -120_000], &[-120_000]]), Some((-120_000, true)));
        assert_eq!(goes_by(&[&[0, 120_000], &[120_000]]), Some((0, true)), "the one that is off is left");
    }

    #[test]
    fn of_two_clocks_that_differ_the_slower_one_counts() {
        assert_eq!(goes_by(&[&[-60_000]]), Some((-60_000, false)));
        assert_eq!(goes_by(&[&[60_000]]), Some((0, false)));
        assert_eq!(goes_by(&[&[60_000], &[61_000]]), Some((0, false)), "it runs on from there");
        assert_eq!(goes_by(&[&[-60_000], &[-60_000, 1]]), Some((0, true)), "the third one decides");
        assert_eq!(goes_by(&[&[-60_000], &[0]]), Some((0, true)), "they agree");
    }

    #[test]
    fn a_node_that_was_judged_tells_a_second_one() {
        let heard = [Offset { agreed: Some(OWN - 3 * MS), ..offsets(&[-60_000])[0] }];
        let mut skew = Skew::new(NodeId(1), 250);
        look(&mut skew, &heard, NOW).expect("an alarm");
        assert_eq!(skew.agreed(), Some(Agreed { minus_boot: OWN - 3 * MS, sure: false }));
    }

    #[test]
    fn of_a_slow_word_for_it_the_earliest_is_taken() {
        let round_trip = Duration::from_millis(80);
        let heard = [Offset { agreed: Some(OWN - 3_000 * MS), round_trip, ..offsets(&[-60_000])[0] }];
        let mut skew = Skew::new(NodeId(1), 250);
        look(&mut skew, &heard, NOW).expect("an alarm");
        assert_eq!(skew.agreed(), Some(Agreed { minus_boot: OWN - 3_040 * MS, sure: false }));
    }

    #[test]
    fn fewer_than_a_majority_do_not_move_a_clock_that_is_sure() {
        let mut skew = Skew::new(NodeId(1), 250);
        let heard = |ms: &[i64]| offsets(ms);
        let goes = |skew: &Skew| skew.agreed().map(|agreed| ((agreed.minus_boot - OWN) / MS, agreed.sure));
        skew.judge(OWN, &heard(&[0, 0, 0, 0]), 4, NOW);
        skew.judge(OWN - 9_000 * MS, &heard(&[-9_000]), 4, NOW);
        assert_eq!(goes(&skew), Some((0, true)), "a rack of two of five with a time of its own");
        skew.judge(OWN - 9_000 * MS, &heard(&[-9_000, -9_000]), 4, NOW);
        assert_eq!(goes(&skew), Some((-9_000, true)), "a majority");
        let mut first = Skew::new(NodeId(1), 250);
        first.judge(OWN, &heard(&[-9_000]), 4, NOW);
        assert_eq!(goes(&first), Some((-9_000, false)), "a node that starts goes by something");
        first.judge(OWN, &heard(&[0]), 4, NOW);
        assert_eq!(goes(&first), Some((0, true)), "until it is sure");
    }

    #[test]
    fn two_that_differ_leave_the_first_judgement_in_doubt() {
        let doubt = |ms| Skew::new(NodeId(1), 250).is_in_doubt(OWN, &offsets(&[ms])[0]);
        assert!(doubt(126) && doubt(-126) && !doubt(125) && !doubt(0));
    }

    #[test]
    fn a_slow_round_trip_proves_nothing() {
        let heard = |ms, millis| {
            let round_trip = Duration::from_millis(millis);
            offsets(&[ms, ms]).into_iter().map(|offset| Offset { round_trip, ..offset }).collect::<Vec<_>>()
        };
        let alarm = |millis| look(&mut Skew::new(NodeId(1), 250), &heard(200, millis), NOW);
        assert!(alarm(149).is_some());
        assert!(alarm(150).is_none());
        let mut skew = Skew::new(NodeId(1), 250);
        look(&mut skew, &heard(9_000, 0), NOW);
        look(&mut skew, &heard(9_070, 150), NOW);
        assert_eq!(skew.agreed(), Some(Agreed { minus_boot: OWN + 9_000 * MS, sure: true }), "it stays where it was");
    }

    #[test]
    fn an_alarm_is_said_once_a_minute_and_when_it_ends() {
        let mut skew = Skew::new(NodeId(1), 250);
        let second = Duration::from_secs(1);
        assert!(look(&mut skew, &offsets(&[300, 300]), NOW).is_some());
        assert!(look(&mut skew, &offsets(&[310, 300]), NOW + second).is_none());
        assert!(look(&mut skew, &offsets(&[310, 300]), NOW + REPEAT_EVERY).is_some());
        let end = look(&mut skew, &offsets(&[0, 1]), NOW + REPEAT_EVERY + second).expect("said");
        assert_eq!(end.to_string(), "node 1: the clocks agree again");
        assert!(look(&mut skew, &offsets(&[0, 1]), NOW + 3 * REPEAT_EVERY).is_none());
    }
}
