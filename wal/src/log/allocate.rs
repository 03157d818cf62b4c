//! New files: allocated and filled with zeros, for the next segment or for the reserve.

use std::io;
use std::path::{Path, PathBuf};

use super::file_names::SPARE_SUFFIX;
use super::state::Shared;
use crate::{Disk, DiskFile, LogError, OpenMode};

/// The system's error, if it says that there is no room on the disk or in the quota.
fn fullness(error: &LogError) -> Option<&io::Error> {
    let LogError::Failed { source, .. } = error else { return None };
    matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded).then_some(source)
}

impl<D: Disk> Shared<D> {
    /// A new file, allocated and filled with zeros, under the name of an unfinished one; `None` when the disk is full, then
    /// nothing is left of it.
    pub async fn new_file(&self) -> Result<Option<(PathBuf, D::File)>, LogError> {
        let path = self.unfinished_path();
        match self.allocate(&path).await {
            Ok(file) => {
                self.state().pool.allocated_bytes += self.options.segment_bytes;
                Ok(Some((path, file)))
            }
            Err(error) => {
                let Some(why) = fullness(&error) else { return Err(error) };
                match self.disk.remove(&path).await {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed.map_err(LogError::failed("remove", &path))?,
                }
                self.state().pool.refuse(why);
                Ok(None)
            }
        }
    }

    async fn allocate(&self, path: &Path) -> Result<D::File, LogError> {
        let file = self.open_file(path, OpenMode::CreateDirect, "create").await?;
        file.allocate_zeroed(self.options.segment_bytes).await.map_err(LogError::failed("allocate", path))?;
        file.sync().await.map_err(LogError::failed("sync", path))?;
        Ok(file)
    }

    /// Adds one file to the reserve, if the disk has room.
    pub async fn refill(&self) -> Result<(), LogError> {
        if let Some((path, file)) = self.new_file().await? {
            drop(file);
            let spare = path.with_extension(&SPARE_SUFFIX[1..]);
            self.disk.rename(&path, &spare).await.map_err(LogError::failed("rename", &path))?;
            self.sync_names().await?;
            self.state().add_spare(spare);
        }
        Ok(())
    }
}
