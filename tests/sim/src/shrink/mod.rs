//! Makes a failing run smaller: fewer faults, fewer clients, fewer kinds of operations, less time, and still the same kind
//! of breach.
//!
//! ```text
//!   the run fails ─▶ shorter ─▶ fewer faults ─▶ fewer clients ─▶ fewer workloads ─▶ shorter ─▶ what is left, and its command
//! ```
//! Each trial is a run of its own, in a process of its own. Faults, clients and steps have streams of random numbers of their
//! own, so that what stays draws what it drew before; what the cluster makes of it may be something else, and then the trial
//! does not count. So the result is a run in which no single part can be left out, not the smallest that there is.

mod minimise;
mod shrinker;
mod trial;

#[cfg(test)]
pub(crate) use self::shrinker::judges;
pub use self::{
    minimise::minimise,
    shrinker::{Ended, Shrunk, shrink},
    trial::Trial,
};
