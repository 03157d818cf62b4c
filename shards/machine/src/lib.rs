#![doc = include_str!("../README.md")]

mod apply;
mod codec;
mod machine;
mod read;
mod remains;
mod snapshot;
mod state;

pub use apply::{Applied, ApplyError, Changed, Effects, Interest, Released, check};
pub use machine::Machine;
pub use read::Read;
pub use remains::Remains;
pub use snapshot::{Blocks, Fault, Frozen, Restore, SnapshotError, block_bytes, check_block};
pub use state::{Meta, Range};
