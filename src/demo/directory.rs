//! The demo's directory: on a real disk, gone at the end.
//!
//! A demo holds a lock on its directory while it lives. One whose lock can be taken has lost its owner: the next demo
//! removes it.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Where demos live, below a directory of the user.
const BASE: &str = "kahuna-demo";

/// One demo's directory.
#[derive(Debug)]
pub struct DemoDir {
    path: PathBuf,
    base: PathBuf,
    _lock: File,
}

impl DemoDir {
    /// Makes one on the first disk that takes it, and removes what dead demos left beside it.
    pub fn make() -> io::Result<Self> {
        let mut last = io::Error::new(ErrorKind::NotFound, "no directory is known that could be on a disk");
        for base in candidates() {
            match Self::make_in(&base) {
                Ok(dir) => return Ok(dir),
                Err(error) => last = io::Error::new(error.kind(), format!("{}: {error}", base.display())),
            }
        }
        Err(last)
    }

    /// The same below `base`.
    fn make_in(base: &Path) -> io::Result<Self> {
        fs::create_dir_all(base)?;
        if kahuna::host::is_in_memory(base)? {
            // Left as it was found, if nothing else is in it.
            let _ = fs::remove_dir(base);
            return Err(io::Error::new(ErrorKind::Unsupported, "it is in memory, not on a disk"));
        }
        let whole = File::open(base)?;
        // Until it has its lock, a new directory looks like a dead one's.
        flock(&whole, FlockOperation::LockExclusive)?;
        sweep(base)?;
        let path = base.join(format!("demo-{}", std::process::id()));
        fs::create_dir(&path)?;
        let lock = File::open(&path)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path, base: base.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DemoDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            kahuna_shards::say!("cannot remove {}: {error}", self.path.display());
        }
        // Fails while other demos live, as it should.
        let _ = fs::remove_dir(&self.base);
    }
}

/// Removes every directory in `base` whose owner is dead.
fn sweep(base: &Path) -> io::Result<()> {
    for entry in fs::read_dir(base)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || !entry.file_name().to_string_lossy().starts_with("demo-") {
            continue;
        }
        let lock = File::open(entry.path())?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn candidates() -> Vec<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    let shared = PathBuf::from("/var/tmp").join(format!("{BASE}-{}", rustix::process::getuid().as_raw()));
    let mut all: Vec<PathBuf> = data.into_iter().map(|data| data.join(BASE)).collect();
    all.push(shared);
    all.extend(std::env::current_dir().map(|here| here.join(format!(".{BASE}"))));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_demos_directory_is_swept_and_a_living_ones_is_not() {
        let temp = tempfile::tempdir().expect("a directory");
        let base = temp.path().join("base");
        fs::create_dir_all(base.join("demo-1/node-1")).expect("a leftover");
        fs::create_dir_all(base.join("other")).expect("something else");
        let living = DemoDir::make_in(&base).expect("a first demo");
        assert!(!base.join("demo-1").exists() && base.join("other").exists());
        sweep(&base).expect("a sweep");
        assert!(living.path().exists());
        drop(living);
        assert!(base.join("other").exists(), "what is not ours stays");
        fs::remove_dir(base.join("other")).expect("empty");
        drop(DemoDir::make_in(&base).expect("a second demo"));
        assert!(!base.exists(), "no trace");
    }
}
