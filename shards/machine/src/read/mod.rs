//! Reads: what a replica that has applied far enough answers from its state.
//!
//! The caller has made sure of the level (ReadIndex, lease, or nothing for a stale read) before it asks; here it decides
//! only what the leader's clock may do. Machine time moves with log entries alone, so a record can be past its end by
//! the clock and alive by machine time. It must not be shown, and must not be called dead either while an extend may be
//! in the log: the caller commits a `Tick` first, and asks again. A stale read has no leader to do that and leaves the
//! record out.

mod answer;
mod pick;
mod point;
mod scan;

pub use answer::Read;
use answer::{Life, Look, Miss, View};
