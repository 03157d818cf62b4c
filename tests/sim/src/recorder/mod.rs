//! What all processes saw, in the simulator and of real processes alike.
//!
//! ```text
//!   claims ─ begin, end ──▶ Lines    the history, in memory or in a file
//!          ─ find ────────▶ findings what must not be and was
//!          ─ books ───────▶ Books    what no history has words for, until it is judged at the end
//! ```
//! Threads share one recorder. In the simulator there is one thread, and its locks are never waited for.

mod books;
mod demand;
mod lines;
mod named;
pub(crate) mod reliance;
mod shared;
pub(crate) mod words;

pub(crate) use books::BUCKET_KEYS;
pub(crate) use shared::Recorder;
