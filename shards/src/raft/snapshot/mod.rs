//! Snapshots: the machine's state in a file, so that the log before it can go.
//!
//! ```text
//! build    freeze (O(1)) ─▶ blocks ─▶ <index>-<term>.tmp ─▶ sync ─▶ rename ─▶ sync of the directory ─▶ adopt
//! receive  begin, chunks, end ─▶ <index>-<term>-<transfer>.tmp, and a machine block by block ─▶ sync ─▶ adopt
//! adopt    pointer record durable in the log ─▶ the file before it is removed ─▶ openraft purges
//! ```
//! The file before its pointer, the pointer before the purge: wherever a crash falls, the pointer names a whole file and
//! the log holds everything behind it. A file that is found damaged is set aside under the ending `.damaged`: see
//! [`SnapshotKeeper::restore`] and [`SnapshotKeeper::report_damage`]. Work goes block
//! by block in short scheduling slices, so that no other group of the shard waits for a large one. Where the disk is full, the
//! half-made file goes and another attempt follows later: see `shortage`.
//!
//! The file (a format), little endian:
//!
//! ```text
//!  0 4 magic "KSNP"    4 2 format (1)   6 2 zeros   8 4 length of the header, CRC included   12 4 group
//! 16 8 term           24 8 index (of the last entry in it)   32 17 log id of the membership   49 .. membership
//!    4 CRC32 (IEEE) of the header before it
//! then the machine's blocks, one after another: see the crate kahuna-machine
//! ```
//! The pointer record: `0 1 format (1)  1 7 zeros  8 8 term  16 8 index  24 8 length of the file`, 32 bytes.

mod build;
mod data;
mod dir;
mod fault;
mod file;
mod header;
mod incoming;
mod inspect;
mod keeper;
mod read;
mod send;
mod shortage;
mod time_slice;
mod transfer;
mod writer;

pub use build::{Builder, free, write_file};
pub use data::{Snapshot, SnapshotData, Source};
pub use dir::{SnapshotDir, damaged_name};
pub use fault::SnapshotFault;
pub use file::SnapshotFile;
pub use header::{Header, PROBE_BYTES, Pointer, file_name, is_own_name};
pub use incoming::IncomingSnapshot;
pub use inspect::{BlockView, View};
pub use keeper::SnapshotKeeper;
pub use read::{BlockReader, load};
pub use send::send_snapshot;
pub use time_slice::TimeSlice;
pub use transfer::SnapshotTransfer;
