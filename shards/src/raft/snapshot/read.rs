//! Reading a snapshot's blocks in order.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;

use kahuna_machine::{Machine, Restore, block_bytes, check_block};
use kahuna_wal::{AlignedBuf, DiskFile};

use super::fault::SnapshotFault;
use super::file::SnapshotFile;
use super::time_slice::TimeSlice;
use crate::env::Env;
use crate::raft::eager::Eager;

/// Read at once, and sent at once: two blocks, as most are. The receiver takes them in within one scheduling slice.
const READ_BYTES: usize = 144 << 10;

/// A read that has begun.
type Reading<'a> = Eager<Pin<Box<dyn Future<Output = io::Result<AlignedBuf>> + 'a>>>;

/// Gives a file's blocks, whole ones only, several at a time, and reads the next ones meanwhile.
pub struct BlockReader<'a, E: Env> {
    snapshot: &'a SnapshotFile<E>,
    /// Where the next block begins in the file.
    offset: u64,
    buffer: AlignedBuf,
    /// What comes at `offset`.
    ahead: Option<Reading<'a>>,
    /// Whether to check the blocks, and the number of the next one.
    checked: Option<u32>,
}

impl<'a, E: Env> BlockReader<'a, E> {
    /// From the first block on, for a reader that checks the blocks.
    pub fn new(snapshot: &'a SnapshotFile<E>) -> Self {
        let offset = snapshot.header_bytes as u64;
        Self { snapshot, offset, buffer: AlignedBuf::with_capacity(1), ahead: None, checked: None }
    }

    /// From the first block on; gives only blocks whose numbers and checksums are right.
    pub fn checking(snapshot: &'a SnapshotFile<E>) -> Self {
        Self { checked: Some(0), ..Self::new(snapshot) }
    }

    /// The next blocks, two or more of them or one larger, and where they begin in the file; `None` at its end.
    ///
    /// # Errors
    /// `Io`; `Header` when what is there is no block, or ends within one; `Block` when one is damaged, if that is checked.
    pub async fn next(&mut self) -> Result<Option<(u64, &[u8])>, SnapshotFault> {
        let SnapshotFile { path, bytes, .. } = self.snapshot;
        if self.offset >= *bytes {
            return Ok(None);
        }
        let mut wanted = READ_BYTES;
        let mut reading = self.ahead.take();
        let end = loop {
            let read = reading.take().unwrap_or_else(|| self.read(wanted));
            self.buffer = read.await.map_err(SnapshotFault::io(path))?;
            let whole = blocks(&self.buffer).map(|block| block.end).take_while(|&end| end <= self.buffer.len()).last();
            if let Some(end) = whole {
                break end;
            }
            let needed = blocks(&self.buffer).next().map_or(0, |block| block.end);
            if needed <= wanted || needed as u64 > bytes - self.offset {
                let why = format!("no whole block at offset {}", self.offset);
                return Err(SnapshotFault::Header { path: path.clone(), why });
            }
            wanted = needed;
        };
        let at = self.offset;
        self.offset += end as u64;
        self.ahead = (self.offset < *bytes).then(|| self.read(READ_BYTES));
        if let Some(number) = &mut self.checked {
            for block in blocks(&self.buffer[..end]) {
                check_block(*number, &self.buffer[block]).map_err(SnapshotFault::block(path))?;
                *number += 1;
            }
        }
        Ok(Some((at, &self.buffer[..end])))
    }

    fn read(&self, wanted: usize) -> Reading<'a> {
        let (file, offset) = (&self.snapshot.file, self.offset);
        Eager::new(Box::pin(file.read_at(offset, wanted)))
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

/// Builds the machine that a snapshot holds, in short scheduling slices.
///
/// # Errors
/// When the file is damaged or cannot be read.
pub async fn load<E: Env>(snapshot: &SnapshotFile<E>) -> Result<Machine, SnapshotFault> {
    let mut reader = BlockReader::new(snapshot);
    let mut restore = Restore::new();
    let mut slice = TimeSlice::<E>::begin();
    while let Some((_, bytes)) = reader.next().await? {
        for block in blocks(bytes) {
            restore.push_block(&bytes[block]).map_err(SnapshotFault::block(&snapshot.path))?;
            slice.step().await;
        }
    }
    restore.finish().map_err(SnapshotFault::block(&snapshot.path))
}
