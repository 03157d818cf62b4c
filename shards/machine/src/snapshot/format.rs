//! The frame of a block: length, checksum, number, kind.

use crate::codec::{Reader, Writer};

/// `KAHS`, the first bytes of the first block's payload.
pub const MAGIC: [u8; 4] = *b"KAHS";
/// The version this crate writes; it reads the earlier ones too.
pub const VERSION: u16 = 3;
/// In a block's kind: its payload is packed. Versions 1 and 2 had none.
pub const PACKED: u32 = 0x100;
/// The bytes before a block's payload.
pub const BLOCK_HEADER_BYTES: usize = 16;
/// The payload at which a block is closed; one item may exceed it.
pub const BLOCK_BYTES: usize = 64 << 10;

/// Room for the last item of a block, behind that payload, as long as most are.
const LAST_ITEM_BYTES: usize = 4 << 10;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BlockKind {
    /// The first block: version, settings, range, time, floors, the meta group's part.
    Head = 1,
    /// Items.
    Items = 2,
    /// The last block: how many items, and the hash of all blocks before.
    Trailer = 3,
}

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is shorter or longer than the length in its header.
    #[error("its header says {stated} bytes and it has {actual}")]
    Length {
        /// In the header; 0 where there is none.
        stated: usize,
        /// What was given.
        actual: usize,
    },
    /// Its bytes are not those that were written.
    #[error("its checksum is {computed:08x} and {stated:08x} was written")]
    Crc {
        /// In the header.
        stated: u32,
        /// Over the bytes given.
        computed: u32,
    },
    /// Another block stood here.
    #[error("it is numbered {0}: blocks are missing, repeated or in another order")]
    Number(u32),
    /// Not a snapshot of this software.
    #[error("it does not start as a snapshot does")]
    Magic,
    /// A version this software does not read.
    #[error("its version is {0}; this software reads 1 to {VERSION}")]
    Version(u16),
    /// A head, items or a trailer where none can be.
    #[error("a block of kind {0} cannot stand here")]
    Kind(u8),
    /// It is marked as packed, and cannot be unpacked.
    #[error("it cannot be unpacked")]
    Packing,
    /// The payload cannot be read as its kind.
    #[error("its {0} cannot be read")]
    Content(&'static str),
    /// Items are not in their order.
    #[error("its {0} are not in order")]
    Order(&'static str),
    /// The trailer counts other items than there were.
    #[error("{stated} items were written and {read} were read")]
    Count {
        /// In the trailer.
        stated: u64,
        /// Read.
        read: u64,
    },
    /// The trailer's hash is another one.
    #[error("the blocks hash to {computed:016x} and {stated:016x} was written")]
    Hash {
        /// In the trailer.
        stated: u64,
        /// Over the blocks read.
        computed: u64,
    },
    /// The snapshot ends without its trailer.
    #[error("the snapshot ends before it, without a trailer")]
    Missing,
}

/// A snapshot that cannot be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {block} of the snapshot: {fault}")]
pub struct SnapshotError {
    /// Which block, from 0.
    pub block: u32,
    /// What is wrong with it.
    pub fault: Fault,
}

/// The length in bytes of a whole block whose first four bytes are `head`, for a reader that takes a snapshot from a
/// file. It is not checked: bound it by what is there before you allocate.
pub fn block_bytes(head: [u8; 4]) -> usize {
    (u32::from_le_bytes(head) as usize).saturating_add(BLOCK_HEADER_BYTES)
}

/// Checks the frame of a block that shall be the one numbered `number`, for code that passes the block on unread.
///
/// # Errors
/// What is wrong with it.
pub fn check_block(number: u32, block: &[u8]) -> Result<(), SnapshotError> {
    frame(number, block).map(drop).map_err(|fault| SnapshotError { block: number, fault })
}

/// Makes one block.
pub fn seal(number: u32, kind: BlockKind, payload: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let items = kind == BlockKind::Items;
    // Grown step by step, a full one would be copied again and again.
    let room = if items { BLOCK_HEADER_BYTES + BLOCK_BYTES + LAST_ITEM_BYTES } else { BLOCK_HEADER_BYTES };
    seal_in(Writer::with_capacity(room), number, kind as u32, payload)
}

/// Makes one block of that kind word.
pub fn seal_word(number: u32, kind: u32, payload: impl FnOnce(&mut Writer)) -> Vec<u8> {
    seal_in(Writer::default(), number, kind, payload)
}

fn seal_in(mut writer: Writer, number: u32, kind: u32, payload: impl FnOnce(&mut Writer)) -> Vec<u8> {
    writer.u32(0);
    writer.u32(0);
    writer.u32(number);
    writer.u32(kind);
    payload(&mut writer);
    let mut block = writer.into_bytes();
    let length =
        u32::try_from(block.len() - BLOCK_HEADER_BYTES).expect("a block holds one value at most beyond 64 KiB");
    block[0..4].copy_from_slice(&length.to_le_bytes());
    let crc = block_crc(&block);
    block[4..8].copy_from_slice(&crc.to_le_bytes());
    block
}

/// Checks a block that shall be the one numbered `number`; its kind word and payload.
///
/// # Errors
/// `Length`, `Crc`, `Number`.
pub fn frame(number: u32, block: &[u8]) -> Result<(u32, &[u8]), Fault> {
    let actual = block.len();
    let Some((head, payload)) = block.split_first_chunk::<BLOCK_HEADER_BYTES>() else {
        return Err(Fault::Length { stated: 0, actual });
    };
    let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let stated = block_bytes(*head.first_chunk().expect("a header has sixteen bytes"));
    if stated != actual {
        return Err(Fault::Length { stated, actual });
    }
    let (stated, computed) = (word(4), block_crc(block));
    if stated != computed {
        return Err(Fault::Crc { stated, computed });
    }
    if word(8) != number {
        return Err(Fault::Number(word(8)));
    }
    Ok((word(12), payload))
}

/// Checks a plain block that shall be the one numbered `number`; its kind and payload.
///
/// # Errors
/// `Length`, `Crc`, `Number`, `Kind`.
pub fn open(number: u32, block: &[u8]) -> Result<(BlockKind, Reader<'_>), Fault> {
    let (kind, payload) = frame(number, block)?;
    let kind = match kind {
        1 => BlockKind::Head,
        2 => BlockKind::Items,
        3 => BlockKind::Trailer,
        kind => return Err(Fault::Kind(kind.to_le_bytes()[0])),
    };
    Ok((kind, Reader::new(payload)))
}

fn block_crc(block: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&block[0..4]);
    hasher.update(&block[8..]);
    hasher.finalize()
}
