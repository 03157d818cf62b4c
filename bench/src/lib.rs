#![doc = include_str!("../README.md")]

mod acknowledged;
mod driver;
mod job;
mod knee;
mod links;
mod pace;
mod plan;
mod report;
mod run;
mod tally;

pub use knee::{Knee, Load, knee};
pub use plan::{MAX_TIME, Plan, Stop, Workload};
pub use report::Report;
pub use run::{BenchError, run};
