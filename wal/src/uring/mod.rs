//! The Linux disk: an io_uring of our own, direct I/O, one ring per shard.
//!
//! ```text
//! future --entry--> Ring (owns fd and buffer) --wait, look--> kernel --completion--> waker
//! ```
//!
//! The ring, not the future, owns buffer and file until the kernel is done with them: dropping a future only means
//! that nobody hears the answer. What may wait for the file system's journal (names, opening, cutting, closing) goes to a
//! thread of the kernel, so that the shard's own does not. Whoever runs the shard calls [`Ring::look`] and [`Ring::wait`],
//! and watches its sockets on the same ring; tests and tools without an executor use [`block_on`].

mod block_on;
mod descriptor;
mod file;
mod names;
mod operation;
mod predecessor;
mod ring;

pub use block_on::block_on;
pub use file::{UringDisk, UringFile};
pub use predecessor::wait_for_writers;
pub use ring::{Ring, Watch};
