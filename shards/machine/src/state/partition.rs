//! The whole state of a partition.

use kahuna_protocol::meta::Settings;
use kahuna_protocol::{ErrorCode, ErrorReply, Hlc};

use super::{Floors, Meta, Range, Rows, in_epoch};

/// Everything a snapshot holds.
#[derive(Clone, Debug)]
pub struct State {
    /// What all replicas agreed on.
    pub settings: Settings,
    /// The positions this partition owns.
    pub range: Range,
    /// The highest stamp applied.
    pub time: Hlc,
    /// Numbers start above these.
    pub floors: Floors,
    /// A key that is not in `records` did not exist at this stamp or later; before the stamp it is unknown.
    pub horizon: Hlc,
    /// What is there many times.
    pub rows: Rows,
    /// What the meta group keeps; empty elsewhere.
    pub meta: Meta,
    /// Rises with every change of `meta`.
    pub meta_version: u64,
}

impl State {
    /// State of a partition before its first command.
    pub fn new(settings: Settings, range: Range) -> Self {
        Self {
            settings,
            range,
            time: Hlc::ZERO,
            floors: Floors::default(),
            horizon: Hlc::ZERO,
            rows: Rows::default(),
            meta: Meta::default(),
            meta_version: 0,
        }
    }

    /// Whether this is the meta group's, which has no names.
    pub fn is_of_meta(&self) -> bool {
        self.range == Range::none()
    }

    /// What a request for a position outside of the range is answered.
    pub fn moved(&self) -> ErrorReply {
        let epoch = self.range.epoch;
        let text = format!("the name is not in the range of this partition (epoch {epoch}): read the map again");
        ErrorReply::new(ErrorCode::Moved, text)
    }

    /// The last number to report for a missing name whose last known number is `last`: in a restored partition a higher one
    /// may have been minted and lost. A restore raises the incarnation of every sequence so, whenever it was made.
    pub fn last_number(&self, last: u64) -> u64 {
        in_epoch(last, self.settings.restore_epoch)
    }

    /// How much later than its deadline a lease ends, in milliseconds.
    pub fn skew_ms(&self) -> u64 {
        u64::from(self.settings.max_clock_skew_ms)
    }

    /// When the record of a request valid until `valid_until_ms` may go, in milliseconds.
    pub fn answer_expiry_ms(&self, valid_until_ms: u64) -> u64 {
        valid_until_ms.saturating_add(u64::from(self.settings.dedupe_grace_ms))
    }
}
