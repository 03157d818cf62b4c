//! `inspect`: what stands in a node's files, for a person or a program. Reads only, and needs no cluster.
//!
//! ```text
//!   wal FILE|DIR   ─▶ kahuna_wal::inspect: batches, records, what is unreadable   ─▶ rows
//!                  ─▶ the verdict: of the whole log for a directory, else of the file alone
//!   snapshot FILE  ─▶ kahuna_shards::raft::snapshot::View: header, blocks, the state         ─▶ rows, verdict
//! ```
//! Damage is an answer, not a failure: everything that can be shown is, and the exit code is 65.

mod detail;
mod files;
mod rows;
mod snapshot;
mod verb;
mod wal;

pub use verb::{InspectVerb, run};
