//! Applying a batch of commands: synchronous, total, and a function of the state and the batch alone.
//!
//! ```text
//!   batch ── each command ──► stamp ► recorded? ► mine? ► too late? ► in range? ──► decide ──► commit ──► record, sweep
//!                                                                                 Draft: the   writes,
//!                                                                                 state, and   effects
//!                                                                                 its writes
//! ```
//! Each command gets a stamp of its own and passes the same gates in the same order. Its outcome is decided without
//! changing anything: an operation reads the [`Draft`](draft::Draft) and adds writes to it. Then they are committed
//! together, the answer is recorded, and a bounded number of dead records is swept. Only a batch that this version cannot
//! read is an error: such a replica must stop.

mod batch;
mod commit;
mod decide;
mod dedupe;
mod draft;
mod effects;
mod key;
mod lock;
mod sequence;
mod sweep;
mod system;
#[cfg(test)]
mod tests;

pub use batch::{Applied, ApplyError, check};
pub use draft::Write;
pub use effects::{Changed, Effects, Interest, Released};
