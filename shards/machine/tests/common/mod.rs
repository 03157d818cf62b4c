//! What the tests share: a machine on a bench, requests, random commands and a model of what they should do.
#![allow(dead_code, unused_imports)] // each test file uses its part

mod bench;
mod choices;
pub mod model;
mod requests;
pub mod workload;

pub use bench::{Bench, SKEW_MS, START_MS, answer, batch, blocks, code, names, not_found, restored, settings};
pub use choices::Choices;
pub use requests::{
    acquire, create, delete, delete_sequence, extend_lock, get, get_as_of, get_revision, if_lock, info, next, release,
    reserve, scan, set,
};
