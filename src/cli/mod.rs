//! The command line: one file per group of verbs.
//!
//! ```text
//!   args ─▶ settings (flag > env > file > default) ─▶ verb ─▶ Answer ─▶ output (stdout) and exit code
//! ```
//! Data goes to stdout, everything else to stderr. The outcome of a request decides the exit code, see [`exit`], also if
//! the output has no reader any more; a listing that its reader cut short ends with 0.

mod args;
mod as_of;
mod bench;
mod check;
mod client_args;
mod exit;
mod explain;
mod file;
mod freshness;
mod inspect;
mod keys;
mod limits;
mod locks;
mod outcome;
mod output;
mod recover;
mod scan;
mod sequences;
mod serve;
mod serve_args;
mod signals;
mod status;

pub use args::run;
pub use exit::{Exit, Failure};
pub use output::table;
pub use serve_args::check_partitions;
