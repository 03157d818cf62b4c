//! A snapshot file on its way to the disk.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use kahuna_wal::{AlignedBuf, BLOCK_BYTES, DiskFile, Durability};

use crate::raft::eager::Eager;

/// Written at once, some more with a large block.
const WRITE_BYTES: usize = 128 << 10;

/// A write that has begun; gives its buffer back.
type Writing = Eager<Pin<Box<dyn Future<Output = io::Result<AlignedBuf>>>>>;

/// Writes a file from its start to its end, past the page cache: a large file's flush at the end would hold up the log's
/// flushes for as long as it takes. While one part is written, the next one is gathered.
pub struct Writer<F> {
    file: Rc<F>,
    /// What is not yet given to the disk, and where it belongs in the file.
    buffer: AlignedBuf,
    offset: u64,
    writing: Option<Writing>,
}

impl<F: DiskFile> Writer<F> {
    /// Into `file`, empty and open for direct writing.
    pub fn new(file: F) -> Self {
        // It grows: most snapshots of many groups are small.
        Self { file: Rc::new(file), buffer: AlignedBuf::with_capacity(BLOCK_BYTES), offset: 0, writing: None }
    }

    /// The bytes pushed so far.
    pub fn bytes(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    /// Adds `bytes`; waits only while the disk is a whole write behind.
    ///
    /// # Errors
    /// Of a write that began earlier.
    pub async fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < WRITE_BYTES {
            return Ok(());
        }
        let mut next = self.settle().await?;
        let whole = self.buffer.len() / BLOCK_BYTES * BLOCK_BYTES;
        next.extend_from_slice(&self.buffer[whole..]);
        self.buffer.truncate(whole);
        self.write(next);
        Ok(())
    }

    /// Writes what is left and makes the file durable.
    ///
    /// # Errors
    /// Of this or an earlier write.
    pub async fn sync(&mut self) -> io::Result<()> {
        let end = self.bytes();
        let mut next = self.settle().await?;
        if !self.buffer.is_empty() {
            let whole = self.buffer.len() / BLOCK_BYTES * BLOCK_BYTES;
            next.extend_from_slice(&self.buffer[whole..]);
            // Direct writes are of whole blocks; what is too much is cut off again.
            self.buffer.resize_zeroed(self.buffer.len().next_multiple_of(BLOCK_BYTES));
            let (offset, buffer) = (self.offset, std::mem::replace(&mut self.buffer, next));
            self.file.write_at(offset, buffer, Durability::Buffered).await?;
            self.offset += whole as u64;
            self.file.truncate(end).await?;
        }
        self.file.sync().await
    }

    /// Begins to write the buffer, whole blocks, and goes on with `next`.
    fn write(&mut self, next: AlignedBuf) {
        let (file, offset) = (self.file.clone(), self.offset);
        let buffer = std::mem::replace(&mut self.buffer, next);
        self.offset += buffer.len() as u64;
        let write = async move { file.write_at(offset, buffer, Durability::Buffered).await };
        self.writing = Some(Eager::new(Box::pin(write)));
    }

    /// Waits for the write under way: an empty buffer.
    async fn settle(&mut self) -> io::Result<AlignedBuf> {
        let Some(writing) = self.writing.take() else { return Ok(AlignedBuf::with_capacity(BLOCK_BYTES)) };
        let mut buffer = writing.await?;
        buffer.clear();
        Ok(buffer)
    }
}
