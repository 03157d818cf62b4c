//! The directories of the tests and the files in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A directory on a real disk; tmpfs would ignore O_DIRECT.
pub fn temp_dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

/// The segment files of a log, in order.
pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).expect("the directory can be read").map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

/// Copies all files of one directory into another, empty one.
pub fn copy_dir(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the directory can be read") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, to.join(path.file_name().expect("a file has a name"))).expect("the copy succeeds");
    }
}
