//! What clients ask meanwhile: the claims of the simulator's [workloads](crate::workload), through the client for threads.
//!
//! A [`Worker`] is a process of the history. It lives on a client host, has a session of its own, and has one operation open
//! at a time. Names of keys and locks change with the time, so that no single history gets too long to be judged.

mod duplicates;
mod locks;
mod names;
mod registers;
mod sequences;
mod worker;

pub(super) use worker::{Setting, Worker};
