//! The names of a disk's files and directories, live and durable.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// The file with this number.
    File(u64),
    /// A directory.
    Dir,
}

/// The tree of names, as it is and as a power loss leaves it.
#[derive(Debug, Default)]
pub(super) struct Names {
    live: BTreeMap<PathBuf, Entry>,
    durable: BTreeMap<PathBuf, Entry>,
}

fn is_root(path: &Path) -> bool {
    path.parent().is_none()
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<Entry> {
        if is_root(path) { Some(Entry::Dir) } else { self.live.get(path).copied() }
    }

    /// The file of that name.
    pub(super) fn file(&self, path: &Path) -> io::Result<u64> {
        match self.get(path) {
            Some(Entry::File(inode)) => Ok(inode),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Fails unless `path` is a directory.
    pub(super) fn expect_dir(&self, path: &Path) -> io::Result<()> {
        match self.get(path) {
            Some(Entry::Dir) => Ok(()),
            Some(Entry::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Lets the name stand for the file; its directory must exist.
    pub(super) fn link(&mut self, path: &Path, inode: u64) -> io::Result<()> {
        self.expect_dir(path.parent().ok_or(io::ErrorKind::IsADirectory)?)?;
        if self.get(path) == Some(Entry::Dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.live.insert(path.to_owned(), Entry::File(inode));
        Ok(())
    }

    /// Takes the name of a file away.
    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<u64> {
        let inode = self.file(path)?;
        self.live.remove(path);
        Ok(inode)
    }

    /// Makes a directory and its parents, durable at once.
    pub(super) fn make_dirs(&mut self, path: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = path.ancestors().take_while(|dir| self.get(dir).is_none()).collect();
        let existing = path.ancestors().nth(missing.len()).unwrap_or(path);
        self.expect_dir(existing)?;
        for dir in missing {
            self.live.insert(dir.to_owned(), Entry::Dir);
            self.durable.insert(dir.to_owned(), Entry::Dir);
        }
        Ok(())
    }

    /// The files right below `dir`, by name.
    pub(super) fn files_in(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        self.expect_dir(dir)?;
        let below = self.live.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(below
            .filter_map(|(path, entry)| match entry {
                Entry::File(inode) => Some((path.file_name()?.to_str()?.to_owned(), *inode)),
                Entry::Dir => None,
            })
            .collect())
    }

    /// The directories right below `dir`, by name.
    pub(super) fn dirs_in(&self, dir: &Path) -> Vec<PathBuf> {
        let below = self.live.iter().filter(|(path, entry)| path.parent() == Some(dir) && **entry == Entry::Dir);
        below.map(|(path, _)| path.clone()).collect()
    }

    /// Takes the names of a directory and of all below it away, for as long as the power lasts.
    pub(super) fn remove_tree(&mut self, dir: &Path) {
        self.live.retain(|path, _| !path.starts_with(dir));
    }

    /// Makes the names right below `dir` durable.
    pub(super) fn sync(&mut self, dir: &Path) -> io::Result<()> {
        self.expect_dir(dir)?;
        self.durable.retain(|path, _| path.parent() != Some(dir));
        let now = self.live.iter().filter(|(path, _)| path.parent() == Some(dir));
        self.durable.extend(now.map(|(path, entry)| (path.clone(), *entry)));
        Ok(())
    }

    /// Power is lost: the names that were never made durable are gone, removed ones are back.
    pub(super) fn crash(&mut self) {
        self.live.clone_from(&self.durable);
    }

    /// The files that some name, live or durable, stands for.
    pub(super) fn in_use(&self) -> BTreeSet<u64> {
        let entries = self.live.values().chain(self.durable.values());
        entries
            .filter_map(|entry| match entry {
                Entry::File(inode) => Some(*inode),
                Entry::Dir => None,
            })
            .collect()
    }
}
