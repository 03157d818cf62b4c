//! What the tests of the log share: a log on a real disk, driven without an executor, and seeded randomness.

#![allow(dead_code, unused_imports, reason = "each test file uses a part of this")]

pub mod dying;
pub mod faulty;
pub mod held;
pub mod memory;
pub mod model;
pub mod told;

mod drive;
mod files;
mod logs;
mod random;

pub use self::{
    drive::{alongside, beside, close, yield_once},
    files::{copy_dir, segments, temp_dir},
    logs::{IDENTITY, disk, entry, open, recover, write_log},
    random::Rng,
};
