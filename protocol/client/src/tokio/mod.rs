//! The client for tokio.
//!
//! One task per connection and one timer task, on the runtime the client was made in. Calling threads go through the
//! core themselves, under a lock that is never held across an await; the connection's task writes all frames gathered
//! since its last write at once. When the last clone of a [`Client`] is dropped, its tasks end.

mod client;
mod shared;

pub use client::{Client, Pages, Pending};
