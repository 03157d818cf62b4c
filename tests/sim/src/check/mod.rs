//! The history checker: were the answers that clients got possible?
//!
//! ```text
//! JSON lines ──> History ──> per key       prepare ──> register ─┐
//!  (event)      (history)    per lock                  locks ────┴─> search ──> Report
//!                            per sequence              sequence ──────────────>
//! ```
//!
//! Linearizability is local: a history is linearizable when each name's part of it is. So every name is searched alone,
//! by just-in-time linearization (`search`). What the answers reveal beforehand (revisions, tokens, values that were
//! written once) is used to keep that search narrow (`prepare`).
//!
//! Five judges see what a history of that kind has no words for: `appended` (keys that are only appended to), `expiry` (keys with a time to live), `cut` (scans of
//! several pages), `revisions` (what was kept of a key's past), `fence` (writes that carry a lock's token). They need no
//! search.
#![doc = include_str!("../../HISTORY.md")]

mod appended;
mod breach;
mod coverage;
mod cut;
mod event;
mod expiry;
mod fence;
mod frontier;
mod history;
mod judge;
mod locks;
mod numbering;
mod prepare;
mod register;
mod report;
mod revisions;
mod rising;
mod search;
mod sequence;

pub use appended::Appended;
pub use cut::Turns;
pub use event::{Datum, Event, Kind, Op, Outcome};
pub use expiry::{ClockBounds, KeyLife, Left};
pub use fence::Fence;
pub use history::{Action, Conditions, Ending, History, HistoryError, Operation, Reply};
pub use judge::check;
pub use report::{Counts, Limits, Problem, Report, Verdict};
pub use revisions::Revisions;
