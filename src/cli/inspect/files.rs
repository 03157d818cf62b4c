//! The files of a log, read as they are, also while a node writes them.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use kahuna_wal::BLOCK_BYTES;
use kahuna_wal::inspect::{SegmentHeader, segment_of};

use super::super::exit::{Exit, Failure};

/// What was asked for.
pub enum Files {
    /// One file, whatever its name is.
    One(PathBuf),
    /// The segments of a directory.
    Log(PathBuf),
}

impl Files {
    /// Looks what `path` is.
    pub fn at(path: &Path) -> Result<Self, Failure> {
        let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        Ok(if metadata.is_dir() { Self::Log(path.to_owned()) } else { Self::One(path.to_owned()) })
    }

    /// The files there are now, in the order of the log.
    pub fn paths(&self) -> Result<Vec<PathBuf>, Failure> {
        match self {
            Self::One(path) => Ok(vec![path.clone()]),
            Self::Log(dir) => {
                let segments = segments(dir)?;
                if segments.is_empty() {
                    let text =
                        format!("{}: no segments (*.seg) here; a log is DATA/logs-0/shard-0, say", dir.display());
                    return Err(Failure::Other(Exit::NotFound, text));
                }
                Ok(segments.into_iter().map(|(_, path)| path).collect())
            }
        }
    }
}

/// The segments of a directory by their numbers, rising.
pub fn segments(dir: &Path) -> Result<Vec<(u64, PathBuf)>, Failure> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| unreadable(dir, &error))?;
    let number = |path: &Path| segment_of(path.file_name()?.to_str()?);
    let paths = entries.into_iter().map(|entry| entry.path());
    let mut segments: Vec<_> = paths.filter_map(|path| Some((number(&path)?, path))).collect();
    segments.sort();
    Ok(segments)
}

/// What was read of a file.
#[derive(Default)]
pub struct Content {
    /// All of its bytes, or those at the front where they show that it is something else.
    pub bytes: Vec<u8>,
    /// Its whole length in bytes.
    pub len: u64,
}

/// A segment's content; none if it is gone, because the node has given it free since it was listed.
pub fn read_segment(path: &Path) -> Result<Option<Content>, Failure> {
    match read_if(path, BLOCK_BYTES, |head| SegmentHeader::decode(head).is_ok()) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// The content of a file whose first `head_bytes` are as they should be, else no more than these: a file of another kind may
/// be of any length.
pub fn read_if(path: &Path, head_bytes: usize, is_fit: impl Fn(&[u8]) -> bool) -> io::Result<Content> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(head_bytes as u64).read_to_end(&mut bytes)?;
    if is_fit(&bytes) {
        file.read_to_end(&mut bytes)?;
    }
    Ok(Content { bytes, len })
}

/// The failure for a file that could not be read, with the reason.
pub fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::IsADirectory => Exit::Usage,
        _ => Exit::Internal,
    };
    Failure::Other(exit, format!("cannot read {}: {error}", path.display()))
}
