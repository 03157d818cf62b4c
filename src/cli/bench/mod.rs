//! `bench`: figures of a running cluster.
//!
//! ```text
//!   flags ─▶ one plan                          ─▶ report              ─▶ record
//!         ─▶ a plan for each point (--sweep)   ─▶ reports, knees      ─▶ rows
//! ```

mod args;
mod single;
mod sweep;

pub use args::{BenchArgs, run};
