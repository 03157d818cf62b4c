//! The files that identify a data directory and the cluster that it belongs to.
//!
//! ```text
//!   small file ─▶ Manifest { this node, its logs, their losses, Founding { the cluster } }
//! ```

pub mod founding;
#[expect(clippy::module_inception, reason = "the file has the name of the type in it")]
mod manifest;
pub(crate) mod small_file;

pub use manifest::{LostLog, MANIFEST, MANIFEST_COPY, Manifest, ManifestError, UNFINISHED_MANIFEST};
