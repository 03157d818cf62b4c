//! Faults, drawn from the seed, inside what a cluster must survive.
//!
//! ```text
//!   calm ─▶ episode: one to three faults at once, each begins, lasts, and is undone ─▶ calm ─▶ ... ─▶ heal
//! ```
//! Each seed draws a temper of its own: which kinds of faults there are, how many at once, how long they last. A run in
//! which only two kinds meet goes deeper than one in which all of them do. In one of four runs there is nothing but changes of
//! leaders, each at a moment that chance rarely meets.
//!
//! **The budget.** What was durable stays durable: a power loss takes only what was not. Logs and snapshots are lost or
//! damaged on one node alone, the run's victim. Wall clocks stay within half of the allowed skew of true time; in some runs
//! the clock of one node is off by minutes, and in some all of them are set back together. Everything else may happen to all nodes at once: then nothing is served, and
//! nothing may be lost either. When the nemesis has ended, nothing but the clocks is broken any more, and the cluster must
//! serve.

mod addresses;
mod episodes;
mod fault;
mod hosts;
mod storage;
mod temper;
mod terms;
mod wires;

pub use episodes::{Clients, Nemesis};
pub use fault::{SimFault, Struck};
pub use temper::{Clocks, Temper};
