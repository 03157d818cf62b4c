//! Which clock a node goes by, and whether its own is close enough to the others'. Leases and expiries rest on it.
//!
//! ```text
//!   heard                                     the clocks say
//!   own within half of max_clock_skew         the own one
//!   three or more, own outside of the medians the nearer median
//!   two that differ                           the one gone by before; else the slower
//!   none                                      nothing new; on a node that is alone the own one
//!
//!   the agreed clock is                       then
//!   none yet                                  the lower median of those that the others go by; of none what the clocks say
//!   behind that                               towards it, 500 ppm faster than the boot clock
//!   ahead of it                               it, at once
//!   ahead of most others' agreed clocks       their lower median, at once
//! ```
//! A step forward would end every lease early by its size: only a cluster that was down as a whole takes one. A step back
//! ends none early, nor does the slower of two clocks. Wall clock is compared with wall clock, agreed clock with agreed
//! clock, neither with the hybrid clock, which follows the fastest node. All clocks are given as what they are ahead of the
//! boot clock: a jump of the host's clock between two judgements then spoils no measurement.

use std::time::Duration;

use kahuna_protocol::NodeId;

use super::alarm::{Alarm, Trouble};
use crate::clock::Agreed;

/// How much faster than the boot clock an agreed clock runs while it is behind, in parts of a million: what `adjtime(3)`
/// takes. The holder of a lease leaves out as much.
pub(super) const SLEW_PPM: i64 = 500;
/// An alarm that goes on is repeated this often.
const REPEAT_EVERY: Duration = Duration::from_secs(60);

/// Another node's clock, as one round trip showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    pub(super) node: NodeId,
    /// What its wall clock is ahead of this host's boot clock, in nanoseconds.
    pub(super) minus_boot: i64,
    /// The same of the clock that it goes by, once that was judged.
    pub(super) agreed: Option<i64>,
    /// How long the question took: the clock is known to half of that.
    pub(super) round_trip: Duration,
}

impl Offset {
    /// What the clock is known to, in nanoseconds.
    fn blur(&self) -> i64 {
        i64::try_from(self.round_trip.as_nanos() / 2).unwrap_or(i64::MAX)
    }

    fn agreed_and_blur(&self) -> Option<(i64, i64)> {
        self.agreed.map(|agreed| (agreed, self.blur()))
    }
}

/// The judge of one node's clock.
#[derive(Debug)]
pub(super) struct Skew {
    node: NodeId,
    max_skew_ms: u32,
    agreed: Option<Agreed>,
    /// When that was so.
    judged_at: Duration,
    trouble: Option<Trouble>,
    is_behind: bool,
    said_at: Duration,
}

/// What one look at the clocks shows.
struct Look {
    /// What the clocks say.
    says: Agreed,
    /// How far the own clock is ahead of what it was compared with, in nanoseconds.
    off: i64,
    trouble: Option<Trouble>,
}

impl Skew {
    /// For the node `node`, whose clocks may differ by `max_skew_ms`.
    pub(super) fn new(node: NodeId, max_skew_ms: u32) -> Self {
        Self {
            node,
            max_skew_ms,
            agreed: None,
            judged_at: Duration::ZERO,
            trouble: None,
            is_behind: false,
            said_at: Duration::ZERO,
        }
    }

    /// The clock to go by; `None` before the first judgement.
    pub(super) fn agreed(&self) -> Option<Agreed> {
        self.agreed
    }

    /// The node has no others to ask: it goes by its `own` clock. The line to print, if there is something new to say.
    pub(super) fn alone(&mut self, own: i64, now: Duration) -> Option<Alarm> {
        let next = self.slewed(own, now).unwrap_or(own);
        self.take(&Look { says: Agreed { minus_boot: own, sure: true }, off: 0, trouble: None }, next, now)
    }

    /// Looks at what was heard since the last time, and at the `own` wall clock, as what it is ahead of the boot clock; the
    /// line to print, if there is something new to say.
    pub(super) fn judge(&mut self, own: i64, offsets: &[Offset], now: Duration) -> Option<Alarm> {
        let look = match offsets {
            [] => return None,
            [other] => self.look_at_one(own, other),
            others => self.look_at_all(own, others),
        };
        let says = look.says.minus_boot;
        let next = match self.slewed(says, now) {
            None => self.first(own, offsets).unwrap_or(says),
            Some(slewed) => slewed.min(self.most(offsets)),
        };
        self.take(&look, next, now)
    }

    /// Goes by `next` from now on.
    fn take(&mut self, look: &Look, next: i64, now: Duration) -> Option<Alarm> {
        let &Look { says, off, trouble } = look;
        self.agreed = Some(Agreed { minus_boot: next, sure: says.sure });
        self.judged_at = now;
        let behind = Some(says.minus_boot.saturating_sub(next)).filter(|behind| *behind > half(self.max_skew_ms));
        let changed = (trouble, behind.is_some()) != (self.trouble, self.is_behind);
        let all_well = trouble.is_none() && behind.is_none();
        if !changed && (all_well || now < self.said_at + REPEAT_EVERY) {
            return None;
        }
        (self.trouble, self.is_behind, self.said_at) = (trouble, behind.is_some(), now);
        Some(Alarm { node: self.node, trouble, off, behind, max_skew_ms: self.max_skew_ms })
    }

    /// Where the clock gone by is at `now` if the clocks say `says`; `None` before the first judgement.
    fn slewed(&self, says: i64, now: Duration) -> Option<i64> {
        let passed = i64::try_from(now.saturating_sub(self.judged_at).as_nanos()).unwrap_or(i64::MAX);
        let most = passed / (1_000_000 / SLEW_PPM);
        self.agreed.map(|agreed| says.min(agreed.minus_boot.saturating_add(most)))
    }

    /// The clock that a node goes by first, if others go by one: its own where that is close to theirs.
    fn first(&self, own: i64, others: &[Offset]) -> Option<i64> {
        let (agreed, blur) = lower_median(others.iter().filter_map(Offset::agreed_and_blur).collect())?;
        let off = own.saturating_sub(agreed).saturating_abs().saturating_sub(blur);
        Some(if off <= half(self.max_skew_ms) { own } else { agreed.saturating_sub(blur) })
    }

    /// The furthest ahead that the node may go by what the others go by.
    fn most(&self, others: &[Offset]) -> i64 {
        let own = self.agreed.map(|agreed| (agreed.minus_boot, 0));
        let all = others.iter().filter_map(Offset::agreed_and_blur).chain(own).collect();
        let (Some((own, _)), Some((median, blur))) = (own, lower_median(all)) else { return i64::MAX };
        if own.saturating_sub(median).saturating_sub(blur) > half(self.max_skew_ms) { median } else { i64::MAX }
    }

    /// By how much the own clock may be off, in nanoseconds. One that was wrong must come nearer before it counts again:
    /// the agreed clock does not go to and fro.
    fn allowed(&self) -> i64 {
        if self.trouble.is_some() { half(self.max_skew_ms) / 2 } else { half(self.max_skew_ms) }
    }

    fn look_at_one(&self, own: i64, other: &Offset) -> Look {
        let off = own.saturating_sub(other.minus_boot);
        if off.saturating_abs().saturating_sub(other.blur()) <= self.allowed() {
            return Look { says: Agreed { minus_boot: own, sure: true }, off, trouble: None };
        }
        let minus_boot = self.agreed.map_or(own.min(other.minus_boot), |agreed| agreed.minus_boot);
        Look { says: Agreed { minus_boot, sure: false }, off, trouble: Some(Trouble::Either(other.node)) }
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
            return Look { says: Agreed { minus_boot: own, sure: true }, off, trouble: None };
        }
        // A measurement that is no better than the clock gone by so far does not move it.
        let kept = self.agreed.filter(|kept| kept.minus_boot.saturating_sub(median).saturating_abs() <= blur);
        let minus_boot = kept.map_or(median, |kept| kept.minus_boot);
        Look { says: Agreed { minus_boot, sure: true }, off, trouble: Some(Trouble::Own) }
    }
}

/// Half of the allowed skew, in nanoseconds.
fn half(max_skew_ms: u32) -> i64 {
    i64::from(max_skew_ms) * 1_000_000 / 2
}

/// The lower one of the two in the middle, of clocks and how well each is known.
fn lower_median(mut clocks: Vec<(i64, i64)>) -> Option<(i64, i64)> {
    clocks.sort_unstable();
    clocks.get(clocks.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests;
