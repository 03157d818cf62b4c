//! A patch file and its header.
//!
//! ```text
//! Breaks: A vote is answered before it is durable.
//! Judge: leaders
//!
//! diff --git a/shards/src/raft/log_store.rs b/shards/src/raft/log_store.rs
//! ```
//!
//! `Breaks` may go on over several lines. `Judge` names who must find it, or several one of whom must. Paths that begin with
//! `openraft/` are those of the library's own source.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kahuna_sim::finding::Judge;

use super::error::PatchesError;

/// A known bug.
#[derive(Debug)]
pub(crate) struct Patch {
    /// The file's name without its ending.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// What is wrong with it in, in one sentence or two.
    pub(crate) breaks: String,
    /// One of these must find it.
    pub(crate) judges: Vec<Judge>,
    /// It changes the library, not the tree.
    pub(crate) of_library: bool,
}

impl Patch {
    /// All patches in `dir`, in order of their names.
    ///
    /// # Errors
    /// `Io`; `Header`.
    pub(crate) fn all(dir: &Path) -> Result<Vec<Self>, PatchesError> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(dir).map_err(PatchesError::io(dir))? {
            let path = entry.map_err(PatchesError::io(dir))?.path();
            if path.extension().is_some_and(|end| end == "patch") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.into_iter().map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Result<Self, PatchesError> {
        let text = fs::read_to_string(&path).map_err(PatchesError::io(&path))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self::parse(&name, path, &text).map_err(|why| PatchesError::Header { name, why })
    }

    fn parse(name: &str, path: PathBuf, text: &str) -> Result<Self, String> {
        let (header, _) = text.split_once("diff --git ").ok_or("no diff in it")?;
        let (breaks, judges) = header.split_once("Judge:").ok_or("no line `Judge:` in its header")?;
        let breaks = breaks.trim().strip_prefix("Breaks:").ok_or("its first line is not `Breaks:`")?;
        let judge = |name: &str| Judge::named(name.trim()).ok_or_else(|| format!("no judge is called {name:?}"));
        let judges = judges.trim().split(',').map(judge).collect::<Result<Vec<_>, _>>()?;
        let mut files = text.lines().filter_map(|line| line.strip_prefix("--- a/"));
        Ok(Self {
            name: name.to_owned(),
            path,
            breaks: breaks.split_whitespace().collect::<Vec<_>>().join(" "),
            judges,
            of_library: files.all(|file| file.starts_with("openraft/")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "diff --git a/wal/src/lib.rs b/wal/src/lib.rs\n--- a/wal/src/lib.rs\n+++ b/wal/src/lib.rs\n";

    fn parse(header: &str, diff: &str) -> Result<Patch, String> {
        Patch::parse("some", PathBuf::new(), &format!("{header}\n\n{diff}"))
    }

    #[test]
    fn a_header_says_what_breaks_and_who_must_find_it() {
        let patch = parse("Breaks: Two lines,\nin fact.\nJudge: leaders, exactly_once", DIFF).expect("a patch");
        assert_eq!(patch.breaks, "Two lines, in fact.");
        assert_eq!(patch.judges, [Judge::Leaders, Judge::ExactlyOnce]);
        assert!(!patch.of_library);
        let diff = DIFF.replace("wal/", "openraft/");
        assert!(parse("Breaks: It.\nJudge: key", &diff).expect("a patch").of_library);
    }

    #[test]
    fn a_header_that_says_too_little_is_refused() {
        assert!(parse("Judge: key", DIFF).is_err());
        assert!(parse("Breaks: It.", DIFF).is_err());
        assert!(parse("Breaks: It.\nJudge: nobody", DIFF).is_err());
        assert!(parse("Breaks: It.\nJudge: key", "").is_err());
    }
}
