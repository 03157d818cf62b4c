//! Small file systems of a test's own. They need root; without it there is none.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const IMAGE_BYTES: u64 = 40 << 20;

/// A file system in a file, mounted until this is dropped.
pub struct Mount {
    pub at: PathBuf,
}

impl Mount {
    /// Why not, when this process may not mount.
    pub fn new(image: &Path, at: &Path) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        File::create(image).and_then(|file| file.set_len(IMAGE_BYTES)).map_err(|error| error.to_string())?;
        // No blocks that only root may take: the nodes are root's here.
        run("mkfs.ext4", &["-q", "-F", "-m", "0", "-J", "size=4"], &[image])?;
        Self::again(image, at)
    }

    /// Of an image that has one.
    pub fn again(image: &Path, at: &Path) -> Result<Self, String> {
        run("mount", &["-o", "loop"], &[image, at])?;
        Ok(Self { at: at.to_owned() })
    }

    /// In memory, of so many bytes.
    pub fn in_memory(bytes: u64, at: &Path) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        run("mount", &["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"], &[at])?;
        Ok(Self { at: at.to_owned() })
    }

    /// Takes all but some `left` bytes with a file of that name.
    pub fn fill(&self, name: &str, left: u64) -> PathBuf {
        let path = self.at.join(name);
        let free = rustix::fs::statvfs(&self.at).expect("it is mounted");
        let taken = (free.f_bavail * free.f_frsize).saturating_sub(left);
        let mut file = File::create(&path).expect("an inode is free");
        let zeros = vec![0; 64 << 10];
        for _ in 0..taken / zeros.len() as u64 {
            if file.write_all(&zeros).is_err() {
                break;
            }
        }
        file.sync_all().expect("a loop device takes it");
        path
    }
}

impl Drop for Mount {
    /// Lazily: nodes may run on it still, and the device goes when they do.
    fn drop(&mut self) {
        if let Err(error) = run("umount", &["--lazy"], &[&self.at]) {
            eprintln!("{} stays mounted: {error}", self.at.display());
        }
    }
}

pub fn run(program: &str, flags: &[&str], paths: &[&Path]) -> Result<(), String> {
    let output =
        Command::new(program).args(flags).args(paths).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}
