//! A snapshot file that is whole and durable.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use kahuna_wal::{Disk, DiskFile, OpenMode};

use super::fault::SnapshotFault;
use super::header::{Header, PROBE_BYTES};
use crate::env::Env;

/// An open snapshot file. It can be read as long as this value is held, also when a newer snapshot has replaced it.
pub struct SnapshotFile<E: Env> {
    /// Where it lies, or lay.
    pub path: PathBuf,
    /// For reading.
    pub file: <E::Disk as Disk>::File,
    /// The whole length in bytes.
    pub bytes: u64,
    /// What it is of.
    pub header: Header,
    /// Where its blocks begin.
    pub header_bytes: usize,
    /// A part of it turned out to be unreadable.
    pub damaged: Cell<bool>,
}

impl<E: Env> SnapshotFile<E> {
    /// Opens the snapshot at `path` and checks its header.
    ///
    /// # Errors
    /// `Io`, `Header`.
    pub async fn open(disk: &E::Disk, path: &Path) -> Result<Self, SnapshotFault> {
        let file = disk.open(path, OpenMode::Read).await.map_err(SnapshotFault::io(path))?;
        let bytes = file.len().await.map_err(SnapshotFault::io(path))?;
        let probe = file.read_at(0, PROBE_BYTES).await.map_err(SnapshotFault::io(path))?;
        let header_bytes = Header::length(&probe).map_err(SnapshotFault::header(path))?;
        let head = file.read_at(0, header_bytes).await.map_err(SnapshotFault::io(path))?;
        if let Some(format) = Header::newer(&head) {
            return Err(SnapshotFault::Newer { path: path.to_owned(), format });
        }
        let header = Header::read(&head).map_err(SnapshotFault::header(path))?;
        Ok(Self { path: path.to_owned(), file, bytes, header, header_bytes, damaged: Cell::new(false) })
    }
}
