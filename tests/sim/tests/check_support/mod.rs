//! What the tests of the checker share: histories in a short notation, and what must be said of them.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this")]

pub mod crowd;
mod notation;
mod verdicts;
pub mod world;

pub use self::{notation::*, verdicts::*};
