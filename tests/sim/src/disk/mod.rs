//! A disk in memory that forgets what was never made durable.
//!
//! Each file has two images, and so has the set of names:
//!
//! ```text
//!   write ──(takes time)──> live image ──sync, or a durable write──> durable image
//!                            what reads see                           what a power loss leaves
//! ```
//!
//! At a [crash](SimDisk::crash) each 512-byte sector that was written and not made durable survives or not, as the seed
//! says; so do parts of a write that was under way. A killed process alone loses nothing that it had written.

mod file;
mod image;
mod inode;
mod names;

pub use file::{SimDisk, SimFile};
pub use image::{DiskOp, DiskOptions, DiskStats};
