//! What clients do while faults happen, and which answers they must get, from the simulator and from real processes alike.
//!
//! Each file is one claim: it draws its operations from the seed and judges at once what no history can show. Answers go to
//! the recorder (`recorder/`). A `Process` is a client with a session of its own; it has one operation open at a time. It
//! asks through `Asks`, which is all that a claim knows of its world.

mod appends;
mod asks;
mod cuts;
pub(crate) mod exactly_once;
mod habits;
mod kinds;
mod lives;
mod locks;
mod names;
mod past;
pub(crate) mod process;
mod registers;
mod sequences;

pub(crate) use asks::Asks;
pub(crate) use habits::Habits;
pub use kinds::Workload;
pub(crate) use names::Naming;
pub(crate) use process::Process;
