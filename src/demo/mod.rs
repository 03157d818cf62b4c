//! `demo`: a throw-away durable cluster of real processes of this binary, on loopback.
//!
//! ```text
//!   directory (a real disk, swept of what killed demos left) ─▶ cluster (ports, processes) ─▶ prompt or script
//! ```
//! The servers die with this process, however it ends: the kernel kills them. The directory goes at the end, or, after
//! a kill, with the next demo.

mod args;
mod cluster;
mod directory;
mod end;
mod events;
mod node;
mod ports;
mod prompt;
mod script;

pub use args::{DemoArgs, run};
