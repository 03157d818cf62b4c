//! Wires that lose, repeat, delay and reorder packets, in user space: this needs no queueing discipline in the kernel.
//!
//! ```text
//!   n1 ── "n2 has the address of the middleman" ──▶ tap on the switch ──▶ queue ──▶ tap ──▶ n2
//! ```
//! Only packets of wires that are murky at the moment go this way; all others stay in the kernel.

mod middleman;
mod queue;
mod tap;

pub(super) use middleman::{MAC, Middleman};
pub(super) use queue::Manner;
