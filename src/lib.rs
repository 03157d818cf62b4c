//! Kahuna as a library: a whole node inside a program or a test, and the client to talk to it.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = kahuna::Node::builder().data_dir("/var/lib/my-program/kahuna").start()?;
//! let client = kahuna::client::blocking::Client::new(kahuna::client::Options::new([node.client_address().to_string()]))?;
//! client.set("jobs/nightly", "done", None)?;
//! node.shutdown();
//! # Ok(())
//! # }
//! ```
//! The node is the one that `kahuna serve` runs: durable, on threads of its own, with the same checks of the host
//! before it starts. A fault that would leave half a node (a failed flush, a broken invariant) ends the process.

pub mod address;
mod builder;
pub mod host;
pub mod units;

pub use builder::{Builder, Node, StartError};
pub use kahuna_client as client;
