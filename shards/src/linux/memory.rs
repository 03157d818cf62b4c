//! The allocator of a process that runs shards.
//!
//! What an allocator puts off and does in one go, the shard's requests wait for: giving memory back to the system, joining
//! what a million freed records leave, looking through every page of a heap. This one, set up as it is here, does none of
//! it on a shard's thread, and each of those has an arena of its own. `kahuna-microbench`, `snapshot`, measures it. What was
//! freed and not used again goes back to the system bit by bit, by a thread of the allocator.

/// What a binary names as its `#[global_allocator]`.
pub use tikv_jemallocator::Jemalloc as Allocator;

/// What the allocator reads when the process starts: give back what nobody used for half a minute, which is longer than from
/// one burst to the next, on a thread that does nothing else; and take no huge pages, whose first touch clears two megabytes
/// at once. The log's few write buffers ask for theirs themselves.
// SAFETY: it is the symbol that the allocator looks for, and a reference to bytes that end with a zero is what it expects.
#[unsafe(export_name = "_rjem_malloc_conf")]
static OPTIONS: &[u8; 96] =
    b"background_thread:true,max_background_threads:1,dirty_decay_ms:30000,muzzy_decay_ms:0,thp:never\0";

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::ptr::{from_mut, null_mut};

    use tikv_jemalloc_sys::mallctl;

    /// Reads the allocator's option `name`, which is a `T`.
    fn option<T: Copy>(name: &CStr, mut value: T) -> T {
        let mut bytes = size_of::<T>();
        // SAFETY: it writes at most so many bytes to the place given, and fails unless the option is of that size.
        let failed = unsafe { mallctl(name.as_ptr(), from_mut(&mut value).cast(), &raw mut bytes, null_mut(), 0) };
        assert_eq!((failed, bytes), (0, size_of::<T>()), "{name:?}");
        value
    }

    #[test]
    fn the_allocator_reads_what_is_set_here() {
        assert_eq!([option(c"opt.dirty_decay_ms", 0_isize), option(c"opt.muzzy_decay_ms", 0)], [30_000, 0]);
        assert!(option(c"background_thread", false), "a thread of its own gives memory back");
        let thp = option(c"opt.thp", std::ptr::null());
        // SAFETY: the option is a text that lives as long as the process.
        assert_eq!(unsafe { CStr::from_ptr(thp) }, c"never");
    }
}
