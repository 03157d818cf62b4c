//! A snapshot on its way.

use bytes::Bytes;

use crate::raft::encoding::{Malformed, Reader, put_vote};
use crate::raft::types::Vote;

/// The head of a snapshot on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotBegin {
    /// The sender's claim to lead.
    pub vote: Vote,
    /// The number of this attempt.
    pub transfer: u64,
    /// The whole file in bytes, header included.
    pub file_bytes: u64,
    /// Header of the snapshot file, encoded.
    pub header: Bytes,
}

impl SnapshotBegin {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_vote(out, &self.vote);
        out.extend_from_slice(&self.transfer.to_le_bytes());
        out.extend_from_slice(&self.file_bytes.to_le_bytes());
        out.extend_from_slice(&self.header);
    }

    /// Reads it.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body, "snapshot head");
        let (vote, transfer, file_bytes) = (reader.vote()?, reader.u64()?, reader.u64()?);
        let header = Bytes::copy_from_slice(reader.take(reader.left())?);
        Ok(Self { vote, transfer, file_bytes, header })
    }
}

/// Appends the head of a chunk; the blocks follow it.
pub fn put_chunk_head(out: &mut Vec<u8>, transfer: u64, offset: u64) {
    out.extend_from_slice(&transfer.to_le_bytes());
    out.extend_from_slice(&offset.to_le_bytes());
}

/// Reads a chunk: transfer, offset, blocks.
pub fn chunk(body: &[u8]) -> Result<(u64, u64, &[u8]), Malformed> {
    let mut reader = Reader::new(body, "snapshot chunk");
    let (transfer, offset) = (reader.u64()?, reader.u64()?);
    let blocks = reader.take(reader.left())?;
    Ok((transfer, offset, blocks))
}

/// Reads the end of a snapshot: its transfer.
pub fn snapshot_end(body: &[u8]) -> Result<u64, Malformed> {
    let mut reader = Reader::new(body, "snapshot end");
    let transfer = reader.u64()?;
    reader.end()?;
    Ok(transfer)
}

/// The answer to a part of a snapshot.
pub fn snapshot_reply_bytes(vote: &Vote) -> Vec<u8> {
    let mut out = Vec::with_capacity(17);
    put_vote(&mut out, vote);
    out
}

/// Reads the answer to a part of a snapshot.
pub fn snapshot_reply(body: &[u8]) -> Result<Vote, Malformed> {
    let mut reader = Reader::new(body, "answer to a snapshot");
    let vote = reader.vote()?;
    reader.end()?;
    Ok(vote)
}
