//! The bytes on disk: pure encoding and decoding, no I/O. The tables are in the crate's FORMAT.md.

pub mod batch;
pub mod record;
pub mod segment;

/// The unit of alignment: a batch starts on a fresh block, and a block with acknowledged bytes is never rewritten.
pub const BLOCK_BYTES: usize = 4096;

/// The format version of the segments this crate makes, and the newest it reads. It reads all since 1, and goes on writing a
/// segment in that segment's own version.
pub const FORMAT_VERSION: u32 = 2;

/// The first version with copies of entries ([`Record::Moved`](crate::Record::Moved)).
pub(crate) const FIRST_VERSION_WITH_MOVED: u32 = 2;

/// A place in the log: a segment's sequence number and a byte offset in its file. Ordered as the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The segment's sequence number, from 1.
    pub segment: u64,
    /// The byte offset within the segment's file.
    pub offset: u64,
}

impl Position {
    /// Where the first batch of a segment stands: behind the header block.
    pub(crate) fn first_in(segment: u64) -> Self {
        Self { segment, offset: BLOCK_BYTES as u64 }
    }
}

/// Reads a little-endian integer at a fixed offset of a block that is known to be long enough.
macro_rules! le {
    ($type:ty, $bytes:expr, $offset:expr) => {
        <$type>::from_le_bytes(
            $bytes[$offset..$offset + size_of::<$type>()].try_into().expect("the slice has the integer's size"),
        )
    };
}
pub(crate) use le;
