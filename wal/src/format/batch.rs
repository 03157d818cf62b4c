//! The header of a batch: the unit of writing, of checksums and of recovery.
//!
//! It has two checksums, both seeded with identity, place and run. The first covers the header alone, so that its claims
//! (what was durable when it was written, which segment is the oldest needed) count even when the batch behind it is torn:
//! they concern the past. The second covers the whole batch.

use super::{BLOCK_BYTES, Position, le};
use crate::identity::Place;

/// Bytes of a batch header.
pub const BATCH_HEADER_BYTES: usize = 64;

const MAGIC: [u8; 4] = *b"KWB1";
const HEADER_CRC_AT: usize = 56;
const BATCH_CRC_AT: usize = 60;

/// The header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Header and records, in bytes, without the padding to a whole block.
    pub length: u32,
    /// The number of records; 0 in a seal.
    pub records: u32,
    /// The batch's number in the log: one more than that of the batch before it.
    pub sequence: u64,
    /// The opening of the log that wrote it.
    pub run: u64,
    /// Everything before this position was durable before this batch was written.
    pub durable: Position,
    /// The oldest segment that recovery needs; older files are leftovers.
    pub oldest_segment: u64,
}

impl BatchHeader {
    /// The bytes the batch takes in its segment: whole blocks.
    pub fn padded_bytes(&self) -> u64 {
        u64::from(self.length).next_multiple_of(BLOCK_BYTES as u64)
    }

    /// Writes the header into the first bytes of `batch` (header room and records, without padding) and seals it with both
    /// checksums.
    pub(crate) fn seal(&self, batch: &mut [u8], place: &Place) {
        assert_eq!(batch.len(), self.length as usize, "the header speaks of these bytes");
        batch[0..4].copy_from_slice(&MAGIC);
        batch[4..8].copy_from_slice(&self.length.to_le_bytes());
        batch[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        batch[16..24].copy_from_slice(&self.run.to_le_bytes());
        batch[24..32].copy_from_slice(&self.durable.segment.to_le_bytes());
        batch[32..40].copy_from_slice(&self.durable.offset.to_le_bytes());
        batch[40..48].copy_from_slice(&self.oldest_segment.to_le_bytes());
        batch[48..52].copy_from_slice(&self.records.to_le_bytes());
        batch[52..56].fill(0);
        let mut hasher = place.hasher(self.run);
        hasher.update(&batch[..HEADER_CRC_AT]);
        let header_crc = hasher.clone().finalize().to_le_bytes();
        batch[HEADER_CRC_AT..BATCH_CRC_AT].copy_from_slice(&header_crc);
        hasher.update(&header_crc);
        hasher.update(&batch[BATCH_HEADER_BYTES..]);
        batch[BATCH_CRC_AT..BATCH_HEADER_BYTES].copy_from_slice(&hasher.finalize().to_le_bytes());
    }

    /// Reads the header at the start of `bytes` if its own checksum verifies for this place; does not check the records
    /// behind it.
    pub(crate) fn decode(bytes: &[u8], place: &Place) -> Option<Self> {
        let header = bytes.get(..BATCH_HEADER_BYTES)?;
        if header[0..4] != MAGIC {
            return None;
        }
        let run = le!(u64, header, 16);
        let mut hasher = place.hasher(run);
        hasher.update(&header[..HEADER_CRC_AT]);
        if hasher.finalize() != le!(u32, header, HEADER_CRC_AT) {
            return None;
        }
        let length = le!(u32, header, 4);
        let canonical = length as usize >= BATCH_HEADER_BYTES && header[52..HEADER_CRC_AT] == [0; 4];
        canonical.then(|| Self {
            length,
            records: le!(u32, header, 48),
            sequence: le!(u64, header, 8),
            run,
            durable: Position { segment: le!(u64, header, 24), offset: le!(u64, header, 32) },
            oldest_segment: le!(u64, header, 40),
        })
    }

    /// The records of the batch at the start of `bytes`, when the whole batch verifies.
    pub(crate) fn verified_records<'a>(&self, bytes: &'a [u8], place: &Place) -> Option<&'a [u8]> {
        let batch = bytes.get(..self.length as usize)?;
        let mut hasher = place.hasher(self.run);
        hasher.update(&batch[..BATCH_CRC_AT]);
        hasher.update(&batch[BATCH_HEADER_BYTES..]);
        (hasher.finalize() == le!(u32, batch, BATCH_CRC_AT)).then_some(&batch[BATCH_HEADER_BYTES..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogIdentity;

    fn place() -> Place {
        let identity = LogIdentity { cluster: [1; 16], incarnation: 2, shard: 3 };
        Place { identity, generation: 4, position: Position { segment: 5, offset: 4096 } }
    }

    fn sealed() -> (BatchHeader, Vec<u8>) {
        let mut batch = vec![0; BATCH_HEADER_BYTES];
        batch.extend_from_slice(b"records");
        let header = BatchHeader {
            length: batch.len() as u32,
            records: 1,
            sequence: 9,
            run: 7,
            durable: Position { segment: 4, offset: 8192 },
            oldest_segment: 2,
        };
        header.seal(&mut batch, &place());
        (header, batch)
    }

    #[test]
    fn golden_bytes() {
        let (header, batch) = sealed();
        let fixed: [u8; 56] = [
            b'K', b'W', b'B', b'1', 71, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0,
            0, 0, 32, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(batch[..56], fixed);
        assert_eq!(BatchHeader::decode(&batch, &place()), Some(header));
        assert_eq!(header.verified_records(&batch, &place()), Some(&b"records"[..]));
    }

    #[test]
    fn no_flipped_bit_verifies() {
        let (header, good) = sealed();
        for byte in 0..good.len() {
            let mut batch = good.clone();
            batch[byte] ^= 1;
            let header_damaged = BatchHeader::decode(&batch, &place()).is_none();
            assert_eq!(header_damaged, byte < BATCH_CRC_AT, "byte {byte}");
            assert!(header_damaged || header.verified_records(&batch, &place()).is_none(), "byte {byte}");
        }
    }

    #[test]
    fn what_no_writer_writes_is_refused_though_it_verifies() {
        let (_, mut batch) = sealed();
        batch[53] = 1;
        let mut hasher = place().hasher(7);
        hasher.update(&batch[..HEADER_CRC_AT]);
        batch[HEADER_CRC_AT..BATCH_CRC_AT].copy_from_slice(&hasher.finalize().to_le_bytes());
        assert_eq!(BatchHeader::decode(&batch, &place()), None);
    }

    #[test]
    fn bytes_of_another_place_never_verify() {
        let (_, batch) = sealed();
        let here = place();
        let mut others = vec![here; 6];
        others[0].identity.cluster[15] ^= 1;
        others[1].identity.incarnation += 1;
        others[2].identity.shard += 1;
        others[3].generation += 1;
        others[4].position.segment += 1;
        others[5].position.offset += 4096;
        for other in others {
            assert_eq!(BatchHeader::decode(&batch, &other), None, "{other:?}");
        }
    }
}
