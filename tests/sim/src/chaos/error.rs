//! Why there was no run.

use std::{io, path::Path};

/// Nothing was tested.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// This process may not make what a run needs.
    #[error("this needs root, network namespaces and loop devices: {0}")]
    NotAllowed(String),
    /// The binary is not there.
    #[error("{0}: build it with `cargo build --release`, or say --binary PATH")]
    NoBinary(String),
    /// A file or a process could not be handled.
    #[error("{what}: {source}")]
    Io {
        /// Which, and what was tried.
        what: String,
        /// Error of the operating system.
        source: io::Error,
    },
}

impl ChaosError {
    /// For `map_err` on what is done with `path`.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = path.display().to_string();
        |source| Self::Io { what, source }
    }
}
