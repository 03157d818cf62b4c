//! Applying a batch of commands: synchronous, total, and a function of the state and the batch alone.
//!
//! Each command gets a stamp of its own and passes the same gates in the same order: was it answered before, is it too
//! late, is it mine, are its arguments in range. Then it is decided, its answer is recorded, and a bounded number of
//! dead records is swept. Only a batch that this version cannot read is an error: such a replica must stop.

mod batch;
mod dedupe;
mod key;
mod lock;
mod meta;
mod sequence;
mod store;
mod sweep;

use batch::Now;
pub use batch::{Applied, ApplyError, check};
