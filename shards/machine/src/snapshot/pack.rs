//! Packed blocks: LZ4 where it pays.

use std::borrow::Cow;

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

use super::format::{BLOCK_HEADER_BYTES, Fault, PACKED, frame, seal_word};

/// The length of the payload before it was packed.
const LENGTH_BYTES: usize = 4;
/// LZ4 packs no better than this.
const MAX_RATIO: usize = 255;
/// No packed payload is longer than this before it is packed: 64 KiB and the longest item come nowhere near.
const MAX_PLAIN_BYTES: usize = 64 << 20;

/// `block`, or a shorter form of it if that saves an eighth.
pub fn pack(block: Vec<u8>) -> Vec<u8> {
    if block.len() > MAX_PLAIN_BYTES {
        return block;
    }
    let payload = &block[BLOCK_HEADER_BYTES..];
    let word = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("a header has sixteen bytes"));
    let packed = seal_word(word(8), word(12) | PACKED, |writer| {
        writer.u32(word(0));
        writer.extend(get_maximum_output_size(payload.len()), |out| {
            compress_into(payload, out).expect("room for the worst case")
        });
    });
    if packed.len() <= block.len() - block.len() / 8 { packed } else { block }
}

/// The plain form of the block numbered `number`.
///
/// # Errors
/// `Length`, `Crc`, `Number` of its frame; `Packing`.
pub fn unpack(number: u32, block: &[u8]) -> Result<Cow<'_, [u8]>, Fault> {
    let (kind, payload) = frame(number, block)?;
    if kind & PACKED == 0 {
        return Ok(Cow::Borrowed(block));
    }
    let (length, packed) = payload.split_first_chunk::<LENGTH_BYTES>().ok_or(Fault::Packing)?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > packed.len().saturating_mul(MAX_RATIO).min(MAX_PLAIN_BYTES) {
        return Err(Fault::Packing);
    }
    let mut unpacked = None;
    let plain = seal_word(number, kind & !PACKED, |writer| {
        writer.extend(length, |out| {
            let written = decompress_into(packed, out).ok().filter(|&written| written == length);
            unpacked = written;
            written.unwrap_or(0)
        });
    });
    unpacked.map(|_| Cow::Owned(plain)).ok_or(Fault::Packing)
}

#[cfg(test)]
mod tests {
    use super::super::format::{BlockKind, seal};
    use super::*;

    /// Claim: what a packed block may take in memory does not grow with the length of the file.
    #[test]
    fn no_block_unpacks_to_more_than_the_bound() {
        let sealed = |bytes: usize| seal(7, BlockKind::Items, |writer| writer.raw(&vec![0; bytes]));
        let room = MAX_PLAIN_BYTES - BLOCK_HEADER_BYTES;
        let packed = pack(sealed(room));
        assert!(packed.len() < room / 100, "it was packed");
        assert_eq!(unpack(7, &packed).expect("as long as it may be").len(), MAX_PLAIN_BYTES);
        let plain = sealed(room + 1);
        assert_eq!(pack(plain.clone()), plain, "left as it is");
        let forged = seal_word(7, BlockKind::Items as u32 | PACKED, |writer| {
            writer.u32(u32::try_from(MAX_PLAIN_BYTES).expect("64 MiB") + 1);
            writer.raw(&vec![0; MAX_PLAIN_BYTES / MAX_RATIO + 1]);
        });
        assert_eq!(unpack(7, &forged), Err(Fault::Packing));
    }
}
