//! A small file of the data directory that is read and replaced as a whole.
//!
//! ```text
//!  0  8 magic             12  4 length of the body                    20 .. body
//!  8  4 format version    16  4 CRC32 of bytes 0..16 and the body
//! ```
//! It is written beside, synced, renamed, and the directory synced: there is the old one or the new one, whenever the power goes.

use std::io;
use std::path::Path;

use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, OpenMode};

const HEADER_BYTES: usize = 20;

/// A kind of small files.
pub(crate) struct SmallFile {
    pub(crate) magic: [u8; 8],
    /// The version that is written, and the newest that is read.
    pub(crate) version: u32,
    /// Length beyond which a file is refused unread.
    pub(crate) max_bytes: u64,
}

/// Why bytes are no such file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Something else.
    Foreign,
    /// Of this newer version.
    Newer(u32),
    /// They do not verify.
    Damaged,
}

impl SmallFile {
    /// A whole file with this body, in `version`.
    pub(crate) fn encode(&self, version: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(&self.magic);
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(body.len()).expect("a small file is small").to_le_bytes());
        let crc = checksum(&bytes, body);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    /// The version and the body of a file.
    pub(crate) fn decode<'a>(&self, bytes: &'a [u8]) -> Result<(u32, &'a [u8]), Unreadable> {
        if bytes.first_chunk::<8>().is_some_and(|magic| *magic != self.magic) {
            return Err(Unreadable::Foreign);
        }
        let (head, body) = bytes.split_at_checked(HEADER_BYTES).ok_or(Unreadable::Damaged)?;
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        if word(8) > self.version {
            return Err(Unreadable::Newer(word(8)));
        }
        if word(12) as usize != body.len() || word(16) != checksum(&head[..16], body) {
            return Err(Unreadable::Damaged);
        }
        Ok((word(8), body))
    }

    /// What stands at `path`; nothing if no file does. Of one that is too long the header alone: it shows what it is, and
    /// does not verify.
    pub(crate) async fn read<D: Disk>(&self, disk: &D, path: &Path) -> io::Result<Option<AlignedBuf>> {
        if !disk.exists(path).await? {
            return Ok(None);
        }
        let file = disk.open(path, OpenMode::Read).await?;
        let len = file.len().await?;
        let read = if len > self.max_bytes { HEADER_BYTES } else { len as usize };
        Ok(Some(file.read_at(0, read).await?))
    }

    /// Replaces the file at `path` by one with this body, durably and at once; `beside` is what it is called until it has its
    /// name. After an error the old one is still there.
    pub(crate) async fn replace<D: Disk>(&self, disk: &D, path: &Path, beside: &str, body: &[u8]) -> io::Result<()> {
        let dir = path.parent().expect("a file in the data directory");
        let beside = dir.join(beside);
        let file = disk.open(&beside, OpenMode::Create).await?;
        let bytes = AlignedBuf::copy_of(&self.encode(self.version, body));
        file.write_at(0, bytes, Durability::Buffered).await?;
        file.sync().await?;
        disk.rename(&beside, path).await?;
        disk.sync_dir(dir).await
    }
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: SmallFile = SmallFile { magic: *b"KHNATEST", version: 2, max_bytes: 64 };

    #[test]
    fn every_flipped_byte_and_every_cut_is_refused() {
        let good = KIND.encode(2, b"a body");
        assert_eq!(KIND.decode(&good), Ok((2, b"a body".as_slice())));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(KIND.decode(&bad).is_err(), "flipped byte {at}");
            assert_eq!(KIND.decode(&good[..at]), Err(Unreadable::Damaged), "cut at {at}");
        }
        assert_eq!(KIND.decode(&KIND.encode(1, b"")), Ok((1, b"".as_slice())), "an earlier version");
        assert_eq!(KIND.decode(&KIND.encode(3, b"")), Err(Unreadable::Newer(3)));
        assert_eq!(KIND.decode(b"something else"), Err(Unreadable::Foreign));
    }
}
