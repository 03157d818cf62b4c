//! One run: a cluster, clients, faults, and the verdict.
//!
//! ```text
//!   form the cluster ─▶ clients work, the nemesis rages, the watch looks ─▶ heal ─▶ everything must be answered
//!                                                ─▶ replicas agree ─▶ everything is read once more ─▶ judge
//! ```

#[cfg(test)]
mod broken;
mod drive;
mod inside;
mod plan;
mod raft;
mod report;
mod watch;

pub use drive::run;
pub use plan::Plan;
pub use report::RunReport;
