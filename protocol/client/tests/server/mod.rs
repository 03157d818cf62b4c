//! A small node for tests of the adapters: real sockets, real frames, one deduplicating store in memory. It speaks for
//! as many nodes as a test starts on the same store; each can be told to misbehave.

mod node;
mod store;

pub use node::Server;
pub use store::Store;
