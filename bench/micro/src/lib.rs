#![doc = include_str!("../README.md")]

mod program;
mod statistics;
mod table;
mod thread_clock;

pub use program::{Node, Program};
pub use statistics::{median, percentile};
pub use table::{Cell, Output, Table};
pub use thread_clock::ThreadClock;
