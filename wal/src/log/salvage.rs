//! Reading a log that may be damaged, without changing a byte of it.

use std::io;
use std::path::{Path, PathBuf};

use super::file_names::{segment_of, segment_path};
use crate::format::BLOCK_BYTES;
use crate::format::segment::{MAX_SEGMENT_BYTES, bytes_to_read};
use crate::recovery::{Prefix, Refusal, Salvage, Salvaged};
use crate::{AlignedBuf, Disk, DiskFile, Log, LogIdentity, LogOpenError, OpenMode};

/// What is read at once where a whole segment cannot be read.
const PIECE_BYTES: usize = 64 << 10;

impl<D: Disk> Log<D> {
    /// Keeps what can be kept of the log in `dir` (an absolute path): its longest valid prefix. Nothing on disk changes, and
    /// the log stays refused. Parts that the disk cannot read count as damaged.
    ///
    /// # Errors
    /// `Missing` when there is no segment; `Foreign` when every segment is another log's; `NewerFormat`; `Io` when the
    /// directory cannot be listed.
    pub async fn salvage(disk: &D, dir: &Path, identity: LogIdentity) -> Result<Salvaged, LogOpenError> {
        let missing = || LogOpenError::Missing { dir: dir.to_owned() };
        if !disk.exists(dir).await.map_err(LogOpenError::io("look for", dir))? {
            return Err(missing());
        }
        let files = disk.list(dir).await.map_err(LogOpenError::io("list", dir))?;
        let mut segments: Vec<u64> = files.iter().filter_map(|file| segment_of(&file.name)).collect();
        segments.sort_unstable();
        if segments.is_empty() {
            return Err(missing());
        }
        let refused = |refusal| refused(dir, identity, refusal);
        let mut claims = Salvage::new(identity);
        for &segment in &segments {
            claims.survey(segment, &read(disk, &segment_path(dir, segment)).await).map_err(refused)?;
        }
        let mut prefix: Prefix = claims.prefix().map_err(refused)?;
        for &segment in &segments {
            prefix.segment(segment, &read(disk, &segment_path(dir, segment)).await).map_err(refused)?;
        }
        Ok(prefix.finish())
    }

    /// The file of a segment of the log in `dir`.
    pub fn segment_file(dir: &Path, segment: u64) -> PathBuf {
        segment_path(dir, segment)
    }
}

/// A segment's bytes: zeros for what cannot be read, nothing if it cannot be opened.
async fn read<D: Disk>(disk: &D, path: &Path) -> AlignedBuf {
    let whole = async {
        let file = disk.open(path, OpenMode::Read).await?;
        let mut len = file.len().await?;
        if len > MAX_SEGMENT_BYTES {
            len = bytes_to_read(len, &file.read_at(0, BLOCK_BYTES).await?);
        }
        let len = usize::try_from(len).unwrap_or(0);
        let bytes = file.read_at(0, len).await;
        Ok::<_, io::Error>((file, len, bytes))
    };
    match whole.await {
        Ok((_, _, Ok(bytes))) => bytes,
        Ok((file, len, Err(_))) => {
            let mut bytes = AlignedBuf::zeroed(len);
            for at in (0..len).step_by(PIECE_BYTES) {
                let wanted = PIECE_BYTES.min(len - at);
                if let Ok(piece) = file.read_at(at as u64, wanted).await {
                    bytes[at..at + piece.len()].copy_from_slice(&piece);
                }
            }
            bytes
        }
        Err(_) => AlignedBuf::zeroed(0),
    }
}

fn refused(dir: &Path, expected: LogIdentity, refusal: Refusal) -> LogOpenError {
    match refusal {
        Refusal::Corrupt { at, why } => {
            LogOpenError::Corrupt { file: segment_path(dir, at.segment), offset: at.offset, why }
        }
        Refusal::Foreign { segment, found } => {
            LogOpenError::Foreign { file: segment_path(dir, segment), found, expected }
        }
        Refusal::Newer { segment, found } => {
            LogOpenError::NewerFormat { file: segment_path(dir, segment), found, supported: crate::FORMAT_VERSION }
        }
    }
}
