//! The first block of every segment file: whose it is, which segment, which use of the file.

use super::{BLOCK_BYTES, FIRST_VERSION_WITH_MOVED, FORMAT_VERSION, le};
use crate::LogIdentity;

const MAGIC: [u8; 8] = *b"KAHUNAWL";
const CRC_AT: usize = BLOCK_BYTES - 4;

/// No segment is longer: it is read into memory as a whole. A header with a larger number is not valid.
pub const MAX_SEGMENT_BYTES: u64 = 1 << 30;

/// The header block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The version of the format that the segment is written in.
    pub version: u32,
    /// Cluster, data directory and shard that the log belongs to.
    pub identity: LogIdentity,
    /// The segment's sequence number, from 1, without gaps.
    pub sequence: u64,
    /// Which use of a file this is: no two uses in a log ever share it. The upper 32 bits are the low bits of the run.
    pub generation: u64,
    /// The run (opening of the log) that prepared the segment.
    pub run: u64,
    /// The length of the file in bytes; a file found shorter was damaged.
    pub segment_bytes: u64,
}

/// Why a header block cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentHeaderError {
    /// The magic, the checksum or a field is wrong.
    Damaged(&'static str),
    /// It verifies, but a newer program wrote it.
    Newer(u32),
}

impl SegmentHeader {
    /// The header as one block.
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        block[0..8].copy_from_slice(&MAGIC);
        block[8..12].copy_from_slice(&self.version.to_le_bytes());
        block[12..16].copy_from_slice(&(BLOCK_BYTES as u32).to_le_bytes());
        block[16..32].copy_from_slice(&self.identity.cluster);
        block[32..40].copy_from_slice(&self.identity.incarnation.to_le_bytes());
        block[40..42].copy_from_slice(&self.identity.shard.to_le_bytes());
        block[48..56].copy_from_slice(&self.sequence.to_le_bytes());
        block[56..64].copy_from_slice(&self.generation.to_le_bytes());
        block[64..72].copy_from_slice(&self.run.to_le_bytes());
        block[72..80].copy_from_slice(&self.segment_bytes.to_le_bytes());
        let crc = crc32fast::hash(&block[..CRC_AT]);
        block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// The first segment, this one or the next, that may hold copies of entries.
    pub fn first_with_moved(&self) -> u64 {
        self.sequence + u64::from(self.version < FIRST_VERSION_WITH_MOVED)
    }

    /// Reads a header from the start of a segment's bytes (any length).
    pub fn decode(bytes: &[u8]) -> Result<Self, SegmentHeaderError> {
        let Some(block) = bytes.get(..BLOCK_BYTES) else {
            return Err(SegmentHeaderError::Damaged("the file is shorter than a segment header"));
        };
        if block[0..8] != MAGIC {
            return Err(SegmentHeaderError::Damaged("no segment header here"));
        }
        // Magic, version and the place of the checksum are the same in every version, so that rot is not taken for news.
        if crc32fast::hash(&block[..CRC_AT]) != le!(u32, block, CRC_AT) {
            return Err(SegmentHeaderError::Damaged("the checksum of the segment header is wrong"));
        }
        let version = match le!(u32, block, 8) {
            0 => return Err(SegmentHeaderError::Damaged("a format version that never existed")),
            version @ 1..=FORMAT_VERSION => version,
            version => return Err(SegmentHeaderError::Newer(version)),
        };
        if le!(u32, block, 12) as usize != BLOCK_BYTES {
            return Err(SegmentHeaderError::Damaged("an unknown block size"));
        }
        if block[42..48].iter().chain(&block[80..CRC_AT]).any(|&byte| byte != 0) {
            return Err(SegmentHeaderError::Damaged("bytes that are zero in this version are not"));
        }
        Ok(Self {
            version,
            identity: LogIdentity {
                cluster: le_array(block),
                incarnation: le!(u64, block, 32),
                shard: le!(u16, block, 40),
            },
            sequence: le!(u64, block, 48),
            generation: le!(u64, block, 56),
            run: le!(u64, block, 64),
            segment_bytes: le!(u64, block, 72),
        })
    }
}

/// How many bytes of a segment file of `len` bytes there are to read, by its first block: the length in its header, or only
/// the header if that does not verify.
pub fn bytes_to_read(len: u64, head: &[u8]) -> u64 {
    let stated = SegmentHeader::decode(head).map_or(BLOCK_BYTES as u64, |header| header.segment_bytes);
    len.min(stated).min(MAX_SEGMENT_BYTES)
}

fn le_array(block: &[u8]) -> [u8; 16] {
    block[16..32].try_into().expect("sixteen bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        let identity = LogIdentity { cluster: *b"0123456789abcdef", incarnation: 77, shard: 3 };
        SegmentHeader { version: FORMAT_VERSION, identity, sequence: 5, generation: 9, run: 2, segment_bytes: 1 << 16 }
    }

    #[test]
    fn golden_bytes() {
        let block = header().encode();
        assert_eq!(&block[..16], b"KAHUNAWL\x02\0\0\0\0\x10\0\0");
        assert_eq!(&block[16..32], b"0123456789abcdef");
        assert_eq!(block[32..48], [77, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(block[48..56], [5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(block[72..80], [0, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(SegmentHeader::decode(&block), Ok(header()));
    }

    #[test]
    fn any_flipped_bit_is_damage() {
        let good = header().encode();
        for byte in 0..BLOCK_BYTES {
            let mut block = good;
            block[byte] ^= 0x10;
            assert!(matches!(SegmentHeader::decode(&block), Err(SegmentHeaderError::Damaged(_))), "byte {byte}");
        }
        assert!(SegmentHeader::decode(&good[..100]).is_err());
    }

    #[test]
    fn what_no_writer_writes_is_refused_though_it_verifies() {
        for byte in [42, 47, 80, CRC_AT - 1] {
            let mut block = header().encode();
            block[byte] = 1;
            let crc = crc32fast::hash(&block[..CRC_AT]);
            block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
            assert!(matches!(SegmentHeader::decode(&block), Err(SegmentHeaderError::Damaged(_))), "byte {byte}");
        }
    }

    #[test]
    fn copies_stand_in_segments_of_version_2_and_behind_the_last_of_version_1() {
        let of = |version| SegmentHeader { version, ..header() }.first_with_moved();
        assert_eq!((of(1), of(2)), (6, 5));
    }

    #[test]
    fn no_more_is_read_than_a_header_says_and_a_segment_can_have() {
        let of = |segment_bytes| SegmentHeader { segment_bytes, ..header() }.encode();
        assert_eq!(bytes_to_read(1 << 40, &of(1 << 16)), 1 << 16);
        assert_eq!(bytes_to_read(1 << 15, &of(1 << 16)), 1 << 15);
        assert_eq!(bytes_to_read(1 << 40, &of(u64::MAX)), 1 << 30);
        assert_eq!(bytes_to_read(1 << 40, &[0; BLOCK_BYTES]), BLOCK_BYTES as u64);
        assert_eq!(bytes_to_read(100, &[0; 100]), 100);
    }

    #[test]
    fn older_versions_are_read_and_newer_ones_are_named() {
        let of = |version| SegmentHeader { version, ..header() };
        assert_eq!(SegmentHeader::decode(&of(1).encode()), Ok(of(1)));
        assert_eq!(SegmentHeader::decode(&of(3).encode()), Err(SegmentHeaderError::Newer(3)));
        assert!(matches!(SegmentHeader::decode(&of(0).encode()), Err(SegmentHeaderError::Damaged(_))));
    }
}
