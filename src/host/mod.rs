//! Whether this host can run a node, found out before any executor starts.
//!
//! Every check ends in one [`Finding`]: what is there, or cause and remedy. Nothing here panics, and nothing stays
//! behind: no file, no lock, no port. Soft limits are raised to the hard ones on the way, which a node wants anyway.

mod data_dir;
mod finding;
mod needs;
mod ports;
mod resources;
mod uring;

pub use data_dir::is_in_memory;
pub use finding::{Finding, Trouble};
pub use needs::{Needs, check};
