//! The copy of the tree that patches are applied to.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{error::PatchesError, patch::Patch};

/// The library whose source may be patched too.
const LIBRARY: &str = "openraft";

/// A copy below the target directory. It stays there, so that the next build is a small one.
#[derive(Debug)]
pub(crate) struct Copy {
    /// The tree that is copied.
    root: PathBuf,
    /// Where the copy and its builds are.
    work: PathBuf,
    /// How the copy is built.
    dev: bool,
}

impl Copy {
    /// A copy of the workspace that this program was built from. With `dev` it is built as tests are, and shares their builds
    /// of libraries; without, as a release is, but for the optimisation over crates.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn new(dev: bool) -> Result<Self, PatchesError> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root.canonicalize().map_err(PatchesError::io(&root))?;
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        let work = target.join("patches");
        fs::create_dir_all(&work).map_err(PatchesError::io(&work))?;
        Ok(Self { root, work, dev })
    }

    /// Where the patches are.
    pub(crate) fn patches_dir(&self) -> PathBuf {
        self.root.join("tests/sim/patches")
    }

    fn tree(&self) -> PathBuf {
        self.work.join("tree")
    }

    fn library(&self) -> PathBuf {
        self.work.join(LIBRARY)
    }

    /// Makes the copy equal to the tree again. Files that are equal already are left alone: cargo looks at their times.
    ///
    /// # Errors
    /// `Io`; `Program`.
    pub(crate) fn reset(&self) -> Result<(), PatchesError> {
        let mut git = Command::new("git");
        git.current_dir(&self.root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let listed = output(&mut git, "list the files")?;
        let files = listed.split('\0').filter(|file| !file.is_empty()).map(PathBuf::from);
        let files: BTreeSet<PathBuf> = files.filter(|file| self.root.join(file).is_file()).collect();
        make_equal(&self.root, &self.tree(), &files)
    }

    /// Applies `patch` to the copy.
    ///
    /// # Errors
    /// `Program` when it does not fit; `Io`.
    pub(crate) fn apply(&self, patch: &Patch) -> Result<(), PatchesError> {
        let mut git = Command::new("git");
        // Not as a part of the repository that the target directory is in: it would leave the files of others alone.
        git.current_dir(&self.work).env("GIT_CEILING_DIRECTORIES", self.work.parent().unwrap_or(&self.work));
        git.args(["apply", "--whitespace=nowarn"]);
        if patch.of_library {
            let source = self.library_source()?;
            make_equal(&source, &self.library(), &files_below(&source)?)?;
        } else {
            git.arg("--directory=tree");
        }
        output(git.arg(&patch.path), &format!("apply {}.patch", patch.name)).map(drop)
    }

    /// Builds the simulator of the copy, patched library included if `with_library`; where it is.
    ///
    /// # Errors
    /// `Program` when it does not compile.
    pub(crate) fn build(&self, with_library: bool) -> Result<PathBuf, PatchesError> {
        let built = self.work.join("built");
        let mut cargo = cargo();
        cargo.current_dir(self.tree()).args(["build", "--quiet", "--package", "kahuna-sim", "--bin", "kahuna-sim"]);
        cargo.env("CARGO_TARGET_DIR", &built);
        if with_library {
            // The lock file, the copy's own, names another source then.
            let library = self.library();
            cargo.arg("--offline").arg("--config").arg(format!("patch.crates-io.{LIBRARY}.path={library:?}"));
        } else {
            cargo.arg("--locked");
        }
        if self.dev {
            cargo.env("CARGO_BUILD_BUILD_DIR", self.work.parent().unwrap_or(&self.work));
            // To cargo the copy's packages are the tree's own; one line of difference keeps their builds apart.
            for package in ["protocol", "client", "wal", "machine", "shards", "sim"] {
                cargo.arg("--config").arg(format!("profile.dev.package.kahuna-{package}.codegen-units=200"));
            }
        } else {
            cargo.arg("--release");
            cargo.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_INCREMENTAL", "true");
            cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "64").env("CARGO_PROFILE_RELEASE_DEBUG", "false");
        }
        output(&mut cargo, "build the copy")?;
        Ok(built.join(if self.dev { "debug" } else { "release" }).join("kahuna-sim"))
    }

    /// Where cargo keeps the library's source.
    fn library_source(&self) -> Result<PathBuf, PatchesError> {
        let mut cargo = cargo();
        cargo.current_dir(&self.root).args(["metadata", "--locked", "--offline", "--format-version", "1"]);
        // What other platforms would need was never fetched.
        cargo.args(["--filter-platform", &format!("{}-unknown-linux-gnu", env::consts::ARCH)]);
        let what = format!("find the source of {LIBRARY}");
        let failed = |said: String| PatchesError::Program { what: what.clone(), said };
        let metadata: serde_json::Value =
            serde_json::from_str(&output(&mut cargo, &what)?).map_err(|error| failed(error.to_string()))?;
        let packages = metadata["packages"].as_array().into_iter().flatten();
        let manifest =
            packages.filter(|package| package["name"] == LIBRARY).find_map(|it| it["manifest_path"].as_str());
        let source = manifest.and_then(|manifest| Path::new(manifest).parent());
        source.map(Path::to_owned).ok_or_else(|| failed("cargo does not know it".into()))
    }
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command; what it printed.
fn output(command: &mut Command, what: &str) -> Result<String, PatchesError> {
    let failed = |said: String| PatchesError::Program { what: format!("cannot {what}"), said };
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    String::from_utf8(output.stdout).map_err(|error| failed(error.to_string()))
}

/// Makes `to` hold `files` as `from` does, and nothing else.
fn make_equal(from: &Path, to: &Path, files: &BTreeSet<PathBuf>) -> Result<(), PatchesError> {
    fs::create_dir_all(to).map_err(PatchesError::io(to))?;
    for left_over in files_below(to)?.difference(files) {
        let path = to.join(left_over);
        fs::remove_file(&path).map_err(PatchesError::io(&path))?;
    }
    for file in files {
        let (source, copy) = (from.join(file), to.join(file));
        let wanted = fs::read(&source).map_err(PatchesError::io(&source))?;
        if fs::read(&copy).is_ok_and(|there| there == wanted) {
            continue;
        }
        if let Some(dir) = copy.parent() {
            fs::create_dir_all(dir).map_err(PatchesError::io(dir))?;
        }
        fs::write(&copy, wanted).map_err(PatchesError::io(&copy))?;
    }
    Ok(())
}

/// All files below `dir`, as paths relative to it.
fn files_below(dir: &Path) -> Result<BTreeSet<PathBuf>, PatchesError> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(inner) = dirs.pop() {
        for entry in fs::read_dir(&inner).map_err(PatchesError::io(&inner))? {
            let path = entry.map_err(PatchesError::io(&inner))?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if let Ok(file) = path.strip_prefix(dir) {
                found.insert(file.to_owned());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, file: &str, text: &str) {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    #[test]
    fn a_copy_is_made_equal_and_touches_only_what_differs() {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        put(&from, "a/b", "one");
        put(&from, "c", "two");
        put(&from, "not-listed", "three");
        let files: BTreeSet<PathBuf> = ["a/b".into(), "c".into()].into();
        make_equal(&from, &to, &files).expect("a copy");
        let written = fs::metadata(to.join("c")).and_then(|it| it.modified()).expect("a time");
        put(&to, "a/b", "patched");
        put(&to, "a/new", "added by a patch");
        make_equal(&from, &to, &files).expect("a copy");
        assert_eq!(files_below(&to).expect("files"), files);
        assert_eq!(fs::read(to.join("a/b")).expect("a file"), b"one");
        assert_eq!(fs::metadata(to.join("c")).and_then(|it| it.modified()).expect("a time"), written);
    }
}
