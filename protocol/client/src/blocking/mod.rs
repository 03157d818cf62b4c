//! The client for threads: standard library only.
//!
//! ```text
//! caller thread   submit -> core (under a lock) -> socket            wait for its slot
//! one per conn.   connect, read -> core -> slots filled, retries written
//! one timer       sleeps until the core's next wake-up
//! ```
//! A caller writes its own frames, so a request costs two thread switches. While one thread writes to a connection the
//! others leave their frames to it: many callers share one write. A connection that takes nothing for a second is
//! given up. [`Client`] is cheap to clone and may be used from any number of threads; when the last clone is dropped,
//! all connections close and its threads end.

mod client;
mod connection;
mod pending;
mod shared;

pub use client::{Client, Pages};
pub use pending::Pending;
