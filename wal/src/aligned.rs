//! A byte buffer whose memory starts on a block boundary, as O_DIRECT demands.
//!
//! A large one takes whole huge pages where the system has them: the kernel looks up each page of a direct write, and hands
//! each to the drive as a piece of its own.
//!
//! Invariant: all `capacity` bytes are initialised from the moment of allocation (zeroed), so growing
//! the length within the capacity never exposes uninitialised memory, only bytes that were written earlier.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use rustix::mm::{Advice, madvise};

use crate::format::BLOCK_BYTES;

/// Bytes of a huge page. A capacity of whole huge pages is aligned to them.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Bytes that a processor fetches at once.
const CACHE_LINE_BYTES: usize = 64;

/// A growable buffer of bytes aligned to [`BLOCK_BYTES`].
///
/// It moves into a [`DiskFile::write_at`](crate::DiskFile::write_at) and comes back out of it, so that the kernel, not a
/// future that may be dropped, decides when the memory is freed.
pub struct AlignedBuf {
    memory: NonNull<u8>,
    len: usize,
    capacity: usize,
}

// SAFETY: the buffer owns its memory alone, as a `Vec<u8>` does.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared access only reads, as with a `Vec<u8>`.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// An empty buffer with room for at least `capacity` bytes (rounded up to whole blocks, at least one).
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.max(1).next_multiple_of(BLOCK_BYTES);
        let layout = Self::layout(capacity);
        // SAFETY: the layout has a non-zero size, because the capacity is at least one block.
        let memory = unsafe { alloc(layout) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
        if layout.align() == HUGE_PAGE_BYTES {
            // SAFETY: the range was just allocated, and the advice changes nothing of what it holds.
            // Where it is not taken, the buffer has small pages.
            let _ = unsafe { madvise(memory.as_ptr().cast(), capacity, Advice::LinuxHugepage) };
        }
        // SAFETY: so many bytes were just allocated.
        unsafe { memory.write_bytes(0, capacity) };
        Self { memory, len: 0, capacity }
    }

    /// A buffer of `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        let mut buf = Self::with_capacity(len);
        buf.len = len;
        buf
    }

    /// A buffer that holds a copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut buf = Self::with_capacity(bytes.len());
        buf.extend_from_slice(bytes);
        buf
    }

    /// The bytes that fit without another allocation.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets the content and keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Forgets the content, and writes to each cache line of the first `bytes` of the memory, up to its capacity: the next
    /// writer finds the memory in the processor's cache.
    pub(crate) fn touch(&mut self, bytes: usize) {
        self.len = bytes.min(self.capacity);
        self.iter_mut().step_by(CACHE_LINE_BYTES).for_each(|byte| *byte = 0);
        self.clear();
    }

    /// Shortens the buffer to `len` bytes; does nothing when it is shorter already.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Appends `bytes`, growing to twice the capacity when there is no room.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.extend_by(bytes.len()).copy_from_slice(bytes);
    }

    /// Makes the buffer `bytes` longer and returns that part, to be written over: it holds whatever it held before.
    pub(crate) fn extend_by(&mut self, bytes: usize) -> &mut [u8] {
        let begin = self.len;
        self.reserve(begin + bytes);
        self.len += bytes;
        &mut self[begin..]
    }

    /// Sets the length to `len`; what is new reads as zero.
    pub fn resize_zeroed(&mut self, len: usize) {
        self.reserve(len);
        let old_len = self.len;
        self.len = len;
        if old_len < len {
            self[old_len..].fill(0);
        }
    }

    #[inline]
    fn reserve(&mut self, needed: usize) {
        if needed > self.capacity {
            self.grow(needed);
        }
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        let mut larger = Self::with_capacity(needed.max(2 * self.capacity));
        larger.len = self.len;
        larger.copy_from_slice(self);
        *self = larger;
    }

    fn layout(capacity: usize) -> Layout {
        let align = if capacity.is_multiple_of(HUGE_PAGE_BYTES) { HUGE_PAGE_BYTES } else { BLOCK_BYTES };
        Layout::from_size_align(capacity, align).expect("a buffer is far smaller than the address space")
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: `memory` came from `alloc` with this very layout, and has no other owner.
        unsafe { dealloc(self.memory.as_ptr(), Self::layout(self.capacity)) }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len <= capacity`, and all of the capacity is initialised (the type's invariant).
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuf({} of {} bytes)", self.len, self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_keeps_content_and_alignment() {
        let mut buf = AlignedBuf::with_capacity(10);
        for round in 0..1000u32 {
            buf.extend_from_slice(&round.to_le_bytes());
        }
        buf.extend_from_slice(&[7; 9000]);
        assert_eq!(buf.as_ptr() as usize % BLOCK_BYTES, 0);
        assert_eq!(buf.len(), 4000 + 9000);
        assert_eq!(buf[4 * 999..4 * 1000], 999u32.to_le_bytes());
    }

    #[test]
    fn whole_huge_pages_are_aligned_zero_and_keep_content() {
        let mut buf = AlignedBuf::copy_of(&[7; 5000]);
        buf.reserve(HUGE_PAGE_BYTES);
        assert_eq!((buf.capacity(), buf.as_ptr() as usize % HUGE_PAGE_BYTES), (HUGE_PAGE_BYTES, 0));
        assert_eq!(buf[..], [7; 5000]);
        buf.extend_by(3000).fill(1);
        buf.len = HUGE_PAGE_BYTES;
        assert_eq!(buf[4999..5001], [7, 1]);
        assert!(buf[8000..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_touched_buffer_is_empty_whatever_it_held_and_however_much_is_asked_for() {
        let mut buf = AlignedBuf::copy_of(&[9; 5000]);
        for bytes in [0, 1, 5000, usize::MAX] {
            buf.touch(bytes);
            assert_eq!((buf.len(), buf.capacity()), (0, 8192));
        }
        buf.resize_zeroed(5000);
        assert_eq!(buf[..], [0; 5000]);
    }

    #[test]
    fn a_reused_buffer_reads_zero_where_it_is_padded() {
        let mut buf = AlignedBuf::copy_of(&[9; 5000]);
        buf.clear();
        buf.extend_from_slice(&[1; 3]);
        buf.resize_zeroed(4096);
        assert_eq!(buf[..3], [1; 3]);
        assert!(buf[3..].iter().all(|&byte| byte == 0));
    }
}
