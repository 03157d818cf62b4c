//! When the disk is full: the log lives on its reserve, then waits; it never fails for want of room.
//!
//! ```text
//! Plenty     the reserve is whole
//!   | the disk refuses to allocate a file
//! Reserve    segments come from the reserve; purged ones go back to it
//!   | the reserve is used up, and so is the last segment
//! Exhausted  appends wait
//! ```
//!
//! Every freed segment and every allocation that succeeds goes, in this order, to the writer, to the reserve, to the spares;
//! with the reserve whole it is `Plenty` again.

use std::path::PathBuf;

use super::state::State;
use super::stats::LogStats;
use crate::Disk;

/// How much room the log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// The disk gives what the log asks for.
    Plenty,
    /// The disk is full. The log goes on in the segments of its reserve, which purges refill.
    Reserve,
    /// The disk is full and the reserve is used up: appends wait, in order, for
    /// [`Log::retry_allocation`](crate::Log::retry_allocation) or a purged segment.
    Exhausted,
}

impl<D: Disk> State<D> {
    pub fn space(&self) -> Space {
        if !self.pool.is_full() {
            Space::Plenty
        } else if self.is_exhausted() {
            Space::Exhausted
        } else {
            Space::Reserve
        }
    }

    /// The newest batch stands in a segment that has no file, and there is none to have.
    pub fn is_exhausted(&self) -> bool {
        !self.pool.gives() && self.prepared_upto < self.queue.tail_segment()
    }

    pub fn retry_allocation(&mut self) {
        if self.pool.ask_again() {
            self.wake();
        }
    }

    /// Takes a file in that holds nothing needed.
    pub fn add_spare(&mut self, spare: PathBuf) {
        self.pool.put(spare);
        self.settle_space();
    }

    /// With a whole reserve and a segment ready behind the tail there is plenty.
    pub fn settle_space(&mut self) {
        let ready = self.prepared_upto > self.queue.tail_segment();
        if ready {
            self.pool.settle();
        }
    }

    /// Whether what waits for a file waits in vain: the log was closed, and all else is written.
    pub fn gives_up_waiting(&self) -> bool {
        self.closing && self.is_exhausted() && self.in_flight.is_empty()
    }

    /// The files held ready: those beyond the reserve, and the reserve.
    pub fn count_spares(&self, stats: &mut LogStats) {
        let (held, reserve) = self.pool.kept();
        stats.reserve = reserve;
        stats.spares = held - reserve;
        stats.allocated_bytes = self.pool.allocated_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Position;
    use crate::log::index::Index;
    use crate::log::pool::Pool;
    use crate::log::queue::Queue;
    use crate::log::release::Release;
    use crate::{LogOptions, UringDisk};

    /// A log that writes to segment 3, whose disk refused a file.
    fn refused(prepared_upto: u64) -> State<UringDisk> {
        let options = LogOptions::small();
        let queue = Queue::new(Position::first_in(3), 1, options.segment_bytes, options.segment_bytes, 4096);
        let pool = Pool::new(&options);
        let mut state = State::new(queue, Index::default(), Position::first_in(3), 0, Release::new(3), pool);
        state.prepared_upto = prepared_upto;
        state.pool.refuse(&"full");
        state
    }

    #[test]
    fn there_is_plenty_again_with_a_whole_reserve_and_a_segment_behind_the_tail() {
        for (prepared_upto, plenty) in [(3, false), (4, true)] {
            let mut state = refused(prepared_upto);
            for (number, expected) in [(1, Space::Reserve), (2, if plenty { Space::Plenty } else { Space::Reserve })] {
                state.add_spare(PathBuf::from(number.to_string()));
                assert_eq!(state.space(), expected, "{number} files, segment {prepared_upto} is ready");
            }
        }
        assert_eq!(refused(2).space(), Space::Exhausted);
    }
}
