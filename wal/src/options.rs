//! The sizes a log is opened with.

use crate::format::BLOCK_BYTES;
use crate::format::batch::BATCH_HEADER_BYTES;

/// Sizes and bounds of a log; none of them is part of the format, a log may be reopened with others.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Length of a segment file in bytes: a multiple of 4 KiB, at least 16 KiB. One record must fit in it.
    pub segment_bytes: u64,
    /// A batch is closed when the next record would make it longer than this; one larger record stands alone.
    pub max_batch_bytes: usize,
    /// Recycled files kept for reuse beyond the one that is already prepared and the reserve; more are deleted.
    pub spare_segments: usize,
    /// Files allocated ahead, after the opening and whenever there is room, and used only when the disk is full.
    pub reserve_segments: usize,
    /// The log is shortened, by copying what still lives in its oldest segments, when it is longer than so many times the
    /// bytes of its live records, and [`LogOptions::slack_segments`]. At least 3: packing them may take twice their length.
    pub max_live_multiple: u64,
    /// Segments that the log may be longer than that; at least 4.
    pub slack_segments: u64,
    /// Whether an empty directory becomes a new log. If not, it is refused as
    /// [`LogOpenError::Missing`](crate::LogOpenError), and a log without any batch as `Corrupt`, because every log is made
    /// with a durable batch.
    pub create: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
            max_batch_bytes: (1 << 20) + (128 << 10),
            spare_segments: 2,
            reserve_segments: 2,
            max_live_multiple: 3,
            slack_segments: 4,
            create: true,
        }
    }
}

impl LogOptions {
    /// Small segments, for tests: 64 KiB.
    pub fn small() -> Self {
        Self { segment_bytes: 64 << 10, max_batch_bytes: 32 << 10, ..Self::default() }
    }

    /// The longest encoded record that a segment of this size takes.
    pub fn max_record_bytes(&self) -> usize {
        let segment_bytes = usize::try_from(self.segment_bytes).unwrap_or(usize::MAX);
        segment_bytes - BLOCK_BYTES - BATCH_HEADER_BYTES
    }

    /// Asserts what the rest of the crate relies on.
    pub(crate) fn assert_valid(&self) {
        let block = BLOCK_BYTES as u64;
        assert!(self.segment_bytes.is_multiple_of(block), "segment_bytes is a multiple of the block size");
        assert!(self.segment_bytes >= 4 * block, "a segment has room for its header and a few batches");
        assert!(self.segment_bytes <= 1 << 30, "a segment is read into memory as a whole");
        assert!(self.max_batch_bytes >= BLOCK_BYTES, "a batch has at least one block");
        assert!(self.max_live_multiple >= 3 && self.slack_segments >= 4, "a log can be packed that tight");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_valid(change: impl FnOnce(&mut LogOptions)) -> bool {
        let mut options = LogOptions::small();
        change(&mut options);
        std::panic::catch_unwind(|| options.assert_valid()).is_ok()
    }

    #[test]
    fn each_bound_holds_at_its_edge() {
        LogOptions::default().assert_valid();
        let segments = |bytes| is_valid(|options| options.segment_bytes = bytes);
        assert_eq!(
            [3 << 12, (4 << 12) - 1, 4 << 12, (4 << 12) + 1, 5 << 12].map(segments),
            [false, false, true, false, true]
        );
        assert_eq!([1 << 30, (1 << 30) + (1 << 12)].map(segments), [true, false]);
        assert_eq!([4095, 4096].map(|bytes| is_valid(|options| options.max_batch_bytes = bytes)), [false, true]);
        assert_eq!([2, 3].map(|times| is_valid(|options| options.max_live_multiple = times)), [false, true]);
        assert_eq!([3, 4].map(|segments| is_valid(|options| options.slack_segments = segments)), [false, true]);
    }

    #[test]
    fn the_longest_record_fills_a_segment_behind_the_two_headers() {
        assert_eq!(LogOptions::small().max_record_bytes(), 65_536 - 4_096 - 64);
    }
}
