//! A small file system for each node, which can be full.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, fallocate, statvfs},
    io::Errno,
};

use super::{ChaosError, hosts::own_name, tools};

/// Size of a node's file system, in bytes.
const IMAGE_BYTES: u64 = 96 << 20;
/// How often the room is measured anew while a disk is filled, because the node took some of it.
const FILL_ATTEMPTS: u32 = 20;

/// An ext4 file system in a file, mounted until this is dropped.
#[derive(Debug)]
pub(super) struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// Makes and mounts one below `dir`.
    ///
    /// # Errors
    /// `NotAllowed` when this process may not mount, `Io` when `dir` takes no file.
    pub(super) fn new(dir: &Path, host: &str) -> Result<Self, ChaosError> {
        let (image, at) = (dir.join(format!("{host}.img")), dir.join(own_name(host)));
        fs::create_dir_all(&at).map_err(ChaosError::at(&at))?;
        File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES)).map_err(ChaosError::at(&image))?;
        // No blocks that only root may take: the nodes are root's here.
        tools::run("mkfs.ext4", &["-q", "-F", "-m", "0", "-J", "size=4", &image.to_string_lossy()])?;
        tools::run("mount", &["-o", "loop", &image.to_string_lossy(), &at.to_string_lossy()])?;
        Ok(Self { image, at })
    }

    /// Where a node's data goes.
    pub(super) fn data_dir(&self) -> PathBuf {
        self.at.join("data")
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    /// Takes all but some `left` bytes, or a little more: the node takes room meanwhile. Of a disk that was filled before it
    /// takes what has become free since.
    ///
    /// # Errors
    /// `Io` when the file system takes no file.
    pub(super) fn fill(&self, left: u64) -> Result<(), ChaosError> {
        let path = self.ballast();
        let failed = |error: Errno| ChaosError::at(&path)(error.into());
        let file = File::options().create(true).append(true).open(&path).map_err(ChaosError::at(&path))?;
        for _ in 0..FILL_ATTEMPTS {
            let held = file.metadata().map_err(ChaosError::at(&path))?.len();
            let room = statvfs(&self.at).map_err(failed)?;
            let taken = (room.f_bavail * room.f_frsize).saturating_sub(left);
            if taken == 0 {
                break;
            }
            match fallocate(&file, FallocateFlags::empty(), held, taken) {
                Err(Errno::NOSPC) => {}
                other => return other.map_err(failed),
            }
        }
        Ok(())
    }

    /// Gives the room back.
    pub(super) fn free(&self) {
        // Without ballast there is nothing to do.
        let _ = fs::remove_file(self.ballast());
    }
}

impl Drop for Disk {
    /// Lazily: nodes may run on it still, and the device goes when they do.
    fn drop(&mut self) {
        if let Err(error) = tools::run("umount", &["--lazy", &self.at.to_string_lossy()]) {
            eprintln!("chaos: {} stays mounted: {error}", self.at.display());
            return;
        }
        // Their directory is the caller's to remove when these cannot be.
        let _ = fs::remove_dir(&self.at);
        let _ = fs::remove_file(&self.image);
    }
}
