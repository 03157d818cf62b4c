//! Where the lines of a history go.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use crate::check::Event;

/// The lines of a history.
pub(super) enum Lines {
    Memory(Vec<Event>),
    File(BufWriter<File>),
}

impl Lines {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        File::create(path).map(|file| Self::File(BufWriter::new(file)))
    }

    pub(super) fn push(&mut self, event: &Event) -> io::Result<()> {
        match self {
            Self::Memory(events) => events.push(event.clone()),
            Self::File(file) => writeln!(file, "{}", event.to_line())?,
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::File(file) => file.flush(),
        }
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// What is in memory.
    pub(super) fn kept(&self) -> &[Event] {
        match self {
            Self::Memory(events) => events,
            Self::File(_) => &[],
        }
    }
}
