//! The names of a disk's files and directories, live and durable.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// The file with this number.
    File(u64),
    Dir,
}

/// The entries of every directory, by their names there.
type Tree = BTreeMap<PathBuf, BTreeMap<OsString, Entry>>;

/// The tree of names, as it is and as a power loss leaves it.
#[derive(Debug, Default)]
pub(super) struct Names {
    live: Tree,
    durable: Tree,
}

/// A path as its directory and its name there; nothing for the root.
fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

fn insert(tree: &mut Tree, path: &Path, entry: Entry) {
    if let Some((dir, name)) = split(path) {
        tree.entry(dir.to_owned()).or_default().insert(name.to_owned(), entry);
    }
}

fn remove(tree: &mut Tree, path: &Path) {
    if let Some((dir, name)) = split(path)
        && let Some(entries) = tree.get_mut(dir)
    {
        entries.remove(name);
    }
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<Entry> {
        match split(path) {
            None => Some(Entry::Dir),
            Some((dir, name)) => self.live.get(dir)?.get(name).copied(),
        }
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
        insert(&mut self.live, path, Entry::File(inode));
        Ok(())
    }

    /// Takes the name of a file away.
    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<u64> {
        let inode = self.file(path)?;
        remove(&mut self.live, path);
        Ok(inode)
    }

    /// Makes a directory and its parents, durable at once.
    pub(super) fn make_dirs(&mut self, path: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = path.ancestors().take_while(|dir| self.get(dir).is_none()).collect();
        let existing = path.ancestors().nth(missing.len()).unwrap_or(path);
        self.expect_dir(existing)?;
        for dir in missing {
            insert(&mut self.live, dir, Entry::Dir);
            insert(&mut self.durable, dir, Entry::Dir);
        }
        Ok(())
    }

    /// The files right below `dir`, by name.
    pub(super) fn files_in(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        self.expect_dir(dir)?;
        let file = |(name, entry): (&OsString, &Entry)| match entry {
            Entry::File(inode) => Some((name.to_str()?.to_owned(), *inode)),
            Entry::Dir => None,
        };
        Ok(self.live.get(dir).into_iter().flatten().filter_map(file).collect())
    }

    /// The directories right below `dir`, by name.
    pub(super) fn dirs_in(&self, dir: &Path) -> Vec<PathBuf> {
        let below = self.live.get(dir).into_iter().flatten().filter(|(_, entry)| **entry == Entry::Dir);
        below.map(|(name, _)| dir.join(name)).collect()
    }

    /// Takes the names of a directory and of all below it away, for as long as the power lasts.
    pub(super) fn remove_tree(&mut self, dir: &Path) {
        self.live.retain(|path, _| !path.starts_with(dir));
        remove(&mut self.live, dir);
    }

    /// Makes the names right below `dir` durable.
    pub(super) fn sync(&mut self, dir: &Path) -> io::Result<()> {
        self.expect_dir(dir)?;
        let now = self.live.get(dir).cloned().unwrap_or_default();
        let before = self.durable.insert(dir.to_owned(), now.clone()).unwrap_or_default();
        for (name, _) in before.into_iter().filter(|(name, entry)| *entry == Entry::Dir && !now.contains_key(name)) {
            // With a directory all goes that was in it.
            let gone = dir.join(name);
            self.durable.retain(|path, _| !path.starts_with(&gone));
        }
        Ok(())
    }

    /// Power is lost: the names that were never made durable are gone, removed ones are back.
    pub(super) fn crash(&mut self) {
        self.live.clone_from(&self.durable);
    }

    /// The files that some name, live or durable, stands for.
    pub(super) fn in_use(&self) -> BTreeSet<u64> {
        let entries = self.live.values().chain(self.durable.values()).flat_map(BTreeMap::values);
        entries
            .filter_map(|entry| match entry {
                Entry::File(inode) => Some(*inode),
                Entry::Dir => None,
            })
            .collect()
    }
}
