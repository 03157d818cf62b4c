//! The allocator of a process that runs shards.
//!
//! Each shard's thread has a heap of its own. What the system's allocator joins and gives back in one go when a state of a
//! million records is freed, the shard's requests wait for; `kahuna-microbench`, `snapshot`, measures it.

use std::ffi::{c_int, c_long};

use libmimalloc_sys::mi_option_set;

/// What a binary names as its `#[global_allocator]`.
pub use mimalloc::MiMalloc as Allocator;

/// `mi_option_purge_delay` of mimalloc 2, which the bindings do not name: milliseconds until freed memory goes back to the
/// system, -1 for never.
const PURGE_DELAY: c_int = 15;

/// Keeps what is freed for the next state or snapshot, since giving it back stalls a shard as well; and lets the log's few
/// write buffers have the huge pages that they ask for, which the allocator, built to do without, forbids to the whole
/// process. To be called first thing in `main`, before there are threads.
pub fn set_up_memory() {
    // SAFETY: sets a number that exists in the version this is built with; no other thread runs yet.
    unsafe { mi_option_set(PURGE_DELAY, c_long::from(-1_i8)) }
    // Where the kernel knows no such switch the buffers get small pages.
    let _ = rustix::thread::disable_transparent_huge_pages(false);
}
