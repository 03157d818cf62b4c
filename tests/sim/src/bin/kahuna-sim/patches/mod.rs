//! `kahuna-sim patches`: known bugs are put back, one at a time, and the judge that must find each has to find it.
//!
//! ```text
//!   the files of git ─▶ copy below target/ ─▶ git apply ─▶ cargo build ─▶ seeds, until one is caught
//! ```
//!
//! A patch is a file `tests/sim/patches/NAME.patch`, a unified diff below a header that says what it breaks and whose
//! business that is. The copy is the tree as it stands, changes that are not committed included.

mod copy;
mod error;
mod patch;
mod run;
mod table;
mod trial;

pub(crate) use run::{PatchesArgs, main};
