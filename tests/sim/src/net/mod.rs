//! Wires between nodes, with delays from the seed, and cuts.
//!
//! A connection is two pipes. Bytes keep their order and arrive after a drawn delay; a pipe holds so much and then makes
//! its writer wait. What is cut does not lose bytes: they arrive once the cut is healed, as with TCP. A killed node's
//! connections are reset, unless they are cut: then the other side learns nothing.
//!
//! Nodes are found by their address: it belongs to the node that listens on it.

mod connection;
mod network;
mod pipe;
mod stream;

pub use network::{Broken, Network};
pub use stream::{SimDetached, SimListener, SimNet, SimReadHalf, SimStream, SimWriteHalf};
