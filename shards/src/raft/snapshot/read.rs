//! Reading a snapshot's blocks in order.

use std::ops::Range;

use kahuna_machine::{Machine, Restore, block_bytes};
use kahuna_wal::{AlignedBuf, DiskFile};

use super::file::{SnapshotFault, SnapshotFile};
use crate::env::Env;

/// Read at once.
const READ_BYTES: usize = 512 << 10;

/// Gives a file's blocks, whole ones only, several at a time.
pub struct BlockReader<'a, E: Env> {
    snapshot: &'a SnapshotFile<E>,
    /// Where the next block begins in the file.
    offset: u64,
    buffer: AlignedBuf,
}

impl<'a, E: Env> BlockReader<'a, E> {
    /// From the first block on.
    pub fn new(snapshot: &'a SnapshotFile<E>) -> Self {
        Self { snapshot, offset: snapshot.header_bytes as u64, buffer: AlignedBuf::with_capacity(1) }
    }

    /// The next blocks, some hundred KiB of them or one larger, and where they begin in the file; `None` at its end.
    ///
    /// # Errors
    /// `Io`; `Block` when what is there is no block, or ends within one.
    pub async fn next(&mut self) -> Result<Option<(u64, &[u8])>, SnapshotFault> {
        let path = &self.snapshot.path;
        if self.offset >= self.snapshot.bytes {
            return Ok(None);
        }
        let mut wanted = READ_BYTES;
        loop {
            let read = self.snapshot.file.read_at(self.offset, wanted).await;
            self.buffer = read.map_err(SnapshotFault::io(path))?;
            let whole = blocks(&self.buffer).map(|block| block.end).take_while(|&end| end <= self.buffer.len()).last();
            if let Some(end) = whole {
                let at = self.offset;
                self.offset += end as u64;
                return Ok(Some((at, &self.buffer[..end])));
            }
            let needed = blocks(&self.buffer).next().map_or(0, |block| block.end);
            if needed <= wanted || needed as u64 > self.snapshot.bytes - self.offset {
                let why = format!("no whole block at offset {}", self.offset);
                return Err(SnapshotFault::Header { path: path.clone(), why });
            }
            wanted = needed;
        }
    }
}

/// The places of the blocks in `bytes`; the last one may go beyond its end.
pub fn blocks(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    std::iter::from_fn(move || {
        let head = bytes.get(start..)?.first_chunk()?;
        let block = start..start.checked_add(block_bytes(*head))?;
        start = block.end;
        Some(block)
    })
}

/// Builds the machine that a snapshot holds, yielding between its blocks.
///
/// # Errors
/// When the file is damaged or cannot be read.
pub async fn load<E: Env>(snapshot: &SnapshotFile<E>) -> Result<Machine, SnapshotFault> {
    let mut reader = BlockReader::new(snapshot);
    let mut restore = Restore::new();
    while let Some((_, bytes)) = reader.next().await? {
        for block in blocks(bytes) {
            restore.push_block(&bytes[block]).map_err(SnapshotFault::block(&snapshot.path))?;
            E::yield_now().await;
        }
    }
    restore.finish().map_err(SnapshotFault::block(&snapshot.path))
}
