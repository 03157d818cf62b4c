//! The files that a log keeps for its next segments, and what is known of the room on the disk.

use std::io;
use std::path::PathBuf;

use crate::LogOptions;

/// What is known about the room on the disk, and the files that are there already.
#[derive(Debug)]
pub struct Pool {
    /// Files of full length that hold nothing needed.
    spares: Vec<PathBuf>,
    /// As many of them are the reserve: taken only when the disk gives no new file.
    reserve: usize,
    /// So many are kept in all.
    most: usize,
    /// The disk refused to allocate, and the reserve was not whole since.
    full: bool,
    /// It refused, and was not asked since.
    refused: bool,
    /// No file could be opened, and that was not tried since.
    unopenable: bool,
    /// Why the last file was refused.
    why: String,
    /// Bytes of all files of the log: segments, needed or prepared, and spares.
    pub allocated_bytes: u64,
}

impl Pool {
    pub fn new(options: &LogOptions) -> Self {
        let (reserve, most) = (options.reserve_segments, options.reserve_segments + options.spare_segments);
        Self {
            spares: Vec::new(),
            reserve,
            most,
            full: false,
            refused: false,
            unopenable: false,
            why: String::new(),
            allocated_bytes: 0,
        }
    }

    /// Takes a file in.
    pub fn put(&mut self, spare: PathBuf) {
        self.spares.push(spare);
    }

    /// Whether one more file would be kept.
    pub fn has_room(&self) -> bool {
        self.spares.len() < self.most
    }

    /// A file more than are kept.
    pub fn take_excess(&mut self) -> Option<PathBuf> {
        if self.spares.len() > self.most { self.spares.pop() } else { None }
    }

    /// A file for the next segment: one beyond the reserve, or any while the disk gives none. The one that waited longest,
    /// so that none is held that went long ago.
    pub fn take(&mut self) -> Option<PathBuf> {
        let gives = !self.spares.is_empty() && (self.spares.len() > self.reserve || self.refused);
        gives.then(|| self.spares.remove(0))
    }

    /// Whether a file for the next segment can be had, as far as is known.
    pub fn gives(&self) -> bool {
        !self.unopenable && (!self.refused || !self.spares.is_empty())
    }

    /// Whether the reserve lacks a file, and the disk may be asked for it.
    pub fn wants_refill(&self) -> bool {
        !self.refused && self.spares.len() < self.reserve
    }

    /// The disk has refused to allocate a file.
    pub fn refuse(&mut self, why: &impl ToString) {
        self.full = true;
        self.refused = true;
        self.why = why.to_string();
    }

    /// The system has refused to open a file.
    pub fn refuse_opening(&mut self, why: &io::Error) {
        self.refuse(why);
        self.unopenable = true;
    }

    /// Whether no file could be opened, and that was not tried since.
    pub fn is_unopenable(&self) -> bool {
        self.unopenable
    }

    /// Whether the disk refused a file, and the reserve was not whole since.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Why the last file was refused; empty if none was.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Lets the disk be asked again; whether it had refused.
    pub fn ask_again(&mut self) -> bool {
        let refused = self.refused;
        if refused {
            self.refused = false;
            self.unopenable = false;
        }
        refused
    }

    /// Ends the shortage if the reserve is whole.
    pub fn settle(&mut self) {
        if self.full && self.spares.len() >= self.reserve {
            self.full = false;
            self.refused = false;
            self.unopenable = false;
        }
    }

    /// The files that are kept, of which so many are the reserve.
    pub fn kept(&self) -> (u64, u64) {
        let held = self.spares.len() as u64;
        (held, held.min(self.reserve as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_keeps_the_reserve_and_the_spares_and_gives_the_reserve_only_when_it_must() {
        let mut pool = Pool::new(&LogOptions::small());
        for held in 0..6 {
            assert_eq!((pool.has_room(), pool.wants_refill()), (held < 4, held < 2), "{held} files");
            pool.put(PathBuf::from(held.to_string()));
        }
        let excess: Vec<_> = std::iter::from_fn(|| pool.take_excess()).collect();
        assert_eq!((excess.len(), pool.spares.len()), (2, 4));
        let given: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((given.len(), pool.spares.len(), pool.gives()), (2, 2, true));
        pool.refuse(&"full");
        let given: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((given.len(), pool.gives(), pool.wants_refill()), (2, false, false));
    }
}
