//! Putting the new data directory in the place of the old one, so that a crash anywhere leaves one of both there, whole.
//!
//! ```text
//!   build      D.recovering, with the file `recovering` in it before anything else, and the manifest after all else
//!   exchange   D <-> D.recovering, one operation of the file system: D is the new one now
//!   set aside  D.recovering -> D.before-recover-<n>: the old directory, which nobody ever removes
//!   finish     the file `recovering` goes
//! ```
//! Each step is durable before the next one begins. The file tells what a directory named `D.recovering` is: with it an
//! unfinished new one, which the next attempt removes; without it the old one, or somebody else's. If it is in D, then
//! the exchange is done and the rest remains to be done.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::error::RecoverError;

/// Marks a new data directory until it has its name for good.
pub const MARK: &str = "recovering";

/// A step of the switch, about to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Both directories change their names.
    Exchange,
    /// The parent directory is synced.
    SyncExchange,
    /// The old directory gets its last name.
    SetAside,
    /// The parent directory is synced.
    SyncSetAside,
    /// The mark of an unfinished switch is removed.
    RemoveMark,
    /// The new directory is synced.
    SyncMark,
}

/// The names around a data directory.
#[derive(Clone, Debug)]
pub struct Names {
    /// The data directory: absolute, no link.
    pub dir: PathBuf,
    /// Where the new one is built.
    pub new: PathBuf,
    parent: PathBuf,
}

/// What an earlier attempt left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing that counts.
    Nothing,
    /// A new directory that is not in its place.
    Unfinished,
    /// The new directory in its place; [`Names::finish`] does the rest.
    Exchanged,
}

impl Names {
    /// The names around `dir`.
    ///
    /// # Errors
    /// `Unfit` when it is the root of a file system: nothing could be beside it. `Io`.
    pub fn of(dir: &Path) -> Result<Self, RecoverError> {
        let dir = fs::canonicalize(dir).map_err(RecoverError::io(dir))?;
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).map_err(RecoverError::io(path));
        let parent = dir.parent().map(Path::to_owned);
        let beside = match &parent {
            Some(parent) => device(parent)? == device(&dir)?,
            None => false,
        };
        let (Some(parent), true) = (parent, beside) else {
            return Err(RecoverError::Unfit(format!(
                "{} is the root of a file system, and the new data must be built beside it: move what it holds into a \
                 directory below it, and give that one as --data-dir",
                dir.display()
            )));
        };
        let mut new = dir.clone().into_os_string();
        new.push(".recovering");
        Ok(Self { dir, new: new.into(), parent })
    }

    /// What an earlier attempt left behind.
    ///
    /// # Errors
    /// `Unfit` when something else stands in the new directory's place.
    pub fn left(&self) -> Result<Left, RecoverError> {
        if exists(&self.dir.join(MARK))? {
            return Ok(Left::Exchanged);
        }
        if !exists(&self.new)? {
            return Ok(Left::Nothing);
        }
        let is_empty = fs::read_dir(&self.new).is_ok_and(|mut entries| entries.next().is_none());
        if is_empty || exists(&self.new.join(MARK))? {
            return Ok(Left::Unfinished);
        }
        Err(RecoverError::Unfit(format!(
            "{} is in the way, and not of an earlier attempt: move it elsewhere",
            self.new.display()
        )))
    }

    /// Makes the new directory, marked and otherwise empty; removes what an unfinished attempt left there.
    ///
    /// # Errors
    /// `Unfit` as [`Names::left`] says, or after the exchange; `Io`.
    pub fn begin(&self) -> Result<(), RecoverError> {
        match self.left()? {
            Left::Nothing => {}
            Left::Unfinished => fs::remove_dir_all(&self.new).map_err(RecoverError::io(&self.new))?,
            Left::Exchanged => {
                return Err(RecoverError::Unfit("an earlier recovery must be finished first".to_owned()));
            }
        }
        let make = || {
            fs::create_dir(&self.new)?;
            sync(&self.parent)?;
            File::create_new(self.new.join(MARK))?.sync_all()?;
            sync(&self.new)
        };
        make().map_err(RecoverError::io(&self.new))
    }

    /// Puts the new directory, whole and durable, in the old one's place; returns where the old one is now. `before` is told
    /// each step, and its error ends the process there, as far as the directories are concerned.
    ///
    /// # Errors
    /// `Io`; the next attempt goes on where this one ended.
    pub fn switch(&self, mut before: impl FnMut(Step) -> io::Result<()>) -> Result<PathBuf, RecoverError> {
        let mut exchange = || {
            before(Step::Exchange)?;
            renameat_with(CWD, &self.new, CWD, &self.dir, RenameFlags::EXCHANGE)?;
            before(Step::SyncExchange)?;
            sync(&self.parent)
        };
        exchange().map_err(RecoverError::io(&self.dir))?;
        let aside = self.finish(before)?;
        Ok(aside.expect("the old directory is there after an exchange"))
    }

    /// What remains after the exchange. Returns where the old directory is now, unless that was done before.
    ///
    /// # Errors
    /// `Io`; the next attempt goes on where this one ended.
    pub fn finish(&self, mut before: impl FnMut(Step) -> io::Result<()>) -> Result<Option<PathBuf>, RecoverError> {
        let mut aside = None;
        if exists(&self.new)? {
            let to = self.free_name()?;
            let mut set_aside = || {
                before(Step::SetAside)?;
                renameat_with(CWD, &self.new, CWD, &to, RenameFlags::NOREPLACE)?;
                before(Step::SyncSetAside)?;
                sync(&self.parent)
            };
            set_aside().map_err(RecoverError::io(&self.new))?;
            aside = Some(to);
        }
        let mark = self.dir.join(MARK);
        let mut unmark = || {
            // Perhaps the names were changed, and not yet durable, when an earlier attempt ended.
            sync(&self.parent)?;
            before(Step::RemoveMark)?;
            fs::remove_file(&mark)?;
            before(Step::SyncMark)?;
            sync(&self.dir)
        };
        unmark().map_err(RecoverError::io(&mark))?;
        Ok(aside)
    }

    /// The first of `D.before-recover-1`, `-2`, .. that is not there.
    fn free_name(&self) -> Result<PathBuf, RecoverError> {
        for number in 1_u32.. {
            let mut name = self.dir.clone().into_os_string();
            name.push(format!(".before-recover-{number}"));
            if !exists(Path::new(&name))? {
                return Ok(name.into());
            }
        }
        unreachable!("no directory holds that many")
    }
}

fn exists(path: &Path) -> Result<bool, RecoverError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(RecoverError::io(path)(error)),
    }
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Step; 6] =
        [Step::Exchange, Step::SyncExchange, Step::SetAside, Step::SyncSetAside, Step::RemoveMark, Step::SyncMark];

    fn names() -> (tempfile::TempDir, Names) {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = parent.path().join("data");
        fs::create_dir(&dir).expect("a directory");
        fs::write(dir.join("content"), "old").expect("a file");
        let names = Names::of(&dir).expect("it is there");
        (parent, names)
    }

    fn build(names: &Names) {
        names.begin().expect("nothing is in the way");
        fs::write(names.new.join("content"), "new").expect("a file");
    }

    fn content(dir: &Path) -> String {
        fs::read_to_string(dir.join("content")).expect("a whole directory")
    }

    fn files(dir: &Path) -> usize {
        fs::read_dir(dir).expect("a directory").count()
    }

    #[test]
    fn killed_at_any_step_a_whole_directory_is_there_and_a_repeat_ends_it() {
        for stop in STEPS {
            let (parent, names) = names();
            build(&names);
            let killed = names.switch(|step| if step == stop { Err(io::Error::other("killed")) } else { Ok(()) });
            let error = killed.expect_err("it was stopped");
            assert!(error.to_string().contains("killed"), "{stop:?}: {error}");
            let exchanged = stop != Step::Exchange;
            assert_eq!(content(&names.dir), if exchanged { "new" } else { "old" }, "{stop:?}");
            let aside = match names.left().expect("nothing foreign") {
                Left::Unfinished => {
                    assert!(!exchanged, "{stop:?}");
                    build(&names);
                    Some(names.switch(|_| Ok(())).expect("it goes on"))
                }
                Left::Exchanged => {
                    assert!(names.begin().is_err(), "{stop:?}: the old directory must not be taken for a new one");
                    names.finish(|_| Ok(())).expect("it goes on")
                }
                Left::Nothing => {
                    assert_eq!(stop, Step::SyncMark);
                    None
                }
            };
            let expected = parent.path().join("data.before-recover-1");
            assert!(aside.is_none_or(|aside| aside == fs::canonicalize(&expected).expect("it is there")), "{stop:?}");
            assert_eq!((content(&names.dir), content(&expected)), ("new".into(), "old".into()), "{stop:?}");
            assert_eq!((files(&names.dir), files(&expected), files(parent.path())), (1, 1, 2), "{stop:?}");
        }
    }

    #[test]
    fn the_steps_are_taken_in_order() {
        let (_parent, names) = names();
        build(&names);
        let mut taken = Vec::new();
        names
            .switch(|step| {
                taken.push(step);
                Ok(())
            })
            .expect("it goes through");
        assert_eq!(taken, STEPS);
        assert_eq!(names.left().expect("nothing foreign"), Left::Nothing);
    }

    #[test]
    fn an_unfinished_directory_is_built_again_and_somebody_elses_is_left_alone() {
        let (_parent, names) = names();
        fs::create_dir(&names.new).expect("a directory");
        assert_eq!(names.left().expect("an empty one is ours"), Left::Unfinished);
        build(&names);
        build(&names);
        assert_eq!(files(&names.new), 2);
        fs::remove_file(names.new.join(MARK)).expect("the mark");
        assert!(names.left().is_err() && names.begin().is_err());
        assert_eq!(content(&names.new), "new");
    }

    #[test]
    fn old_directories_are_numbered() {
        let (_parent, names) = names();
        for number in 1..=3 {
            build(&names);
            let aside = names.switch(|_| Ok(())).expect("it goes through");
            assert!(aside.ends_with(format!("data.before-recover-{number}")), "{aside:?}");
        }
    }
}
