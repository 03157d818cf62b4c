//! Why a patch could not be tried.

use std::{
    io,
    path::{Path, PathBuf},
};

/// What went wrong before any seed ran.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PatchesError {
    /// A file or a folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A program that is needed ended with an error.
    #[error("{what}:\n{said}")]
    Program {
        /// What it should have done.
        what: String,
        /// Its last words.
        said: String,
    },
    /// The header of a patch does not say what it must.
    #[error("{name}.patch: {why}")]
    Header {
        /// The patch.
        name: String,
        /// What is missing.
        why: String,
    },
    /// The command line asks for a patch that is not there.
    #[error("there is no patch {0:?} in tests/sim/patches")]
    NoSuchPatch(String),
}

impl PatchesError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
