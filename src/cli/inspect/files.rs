//! The files of a log, read as they are, also while a node writes them.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use kahuna_wal::inspect::segment_of;

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
                    return Err(Failure::Other(Exit::NotFound, format!("{}: no log here", dir.display())));
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

/// The bytes of a file; none if it is gone, because the node has given it free since it was listed.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// Says which file could not be read, and why.
pub fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let exit = if error.kind() == ErrorKind::NotFound { Exit::NotFound } else { Exit::Internal };
    Failure::Other(exit, format!("cannot read {}: {error}", path.display()))
}
