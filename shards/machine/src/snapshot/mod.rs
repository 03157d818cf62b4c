//! A partition's state as blocks of bytes (a format; the bytes are in this crate's FORMAT.md).
//!
//! A snapshot is taken from a [`Frozen`] state, so that it is of one moment while commands go on being applied, and is
//! written and read a block at a time, so that neither holds up the shard. Blocks are numbered and checked one by one;
//! the trailer holds a hash over all of them.

mod blocks;
mod format;
mod head;
mod pack;
mod restore;

pub use blocks::{Blocks, Frozen};
pub use format::{Fault, SnapshotError, block_bytes, check_block};
pub use restore::Restore;
