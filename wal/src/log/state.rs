//! The state that appends, writer and preparer share.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::Waker;

use super::file_names::{SPARE_SUFFIX, UNFINISHED_SUFFIX, segment_path};
use super::in_flight::InFlight;
use super::index::Index;
use super::pool::Pool;
use super::queue::Queue;
use super::release::Release;
use super::stats::LogStats;
use super::waiters::Waiters;
use crate::format::Position;
use crate::{Disk, LogError, LogIdentity, LogOptions};

/// What never changes, and the state.
pub struct Shared<D: Disk> {
    pub disk: D,
    pub dir: PathBuf,
    pub identity: LogIdentity,
    pub options: LogOptions,
    /// This opening of the log.
    pub run: u64,
    state: RefCell<State<D>>,
}

/// A segment that is ready to be written. Clones share the file, which a write in flight keeps open.
pub struct Prepared<D: Disk> {
    pub segment: u64,
    pub generation: u64,
    pub file: Rc<D::File>,
}

impl<D: Disk> Clone for Prepared<D> {
    fn clone(&self) -> Self {
        Self { segment: self.segment, generation: self.generation, file: self.file.clone() }
    }
}

/// The mutable part. Borrowed briefly, never across an await, never while a callback runs.
pub struct State<D: Disk> {
    pub queue: Queue,
    pub index: Index,
    /// The segment being written and those ready behind it, in order.
    pub prepared: VecDeque<Prepared<D>>,
    /// The highest segment that was prepared.
    pub prepared_upto: u64,
    /// Everything before this is durable.
    pub durable: Position,
    /// The newest batch that is durable.
    pub durable_sequence: u64,
    /// The newest durable batch has no records and claims all before it.
    pub sealed: bool,
    /// The batches that are on their way to the disk, in order.
    pub in_flight: VecDeque<InFlight>,
    /// Those who wait for a batch in flight or in the queue, or whose batch is durable and who are about to be called back.
    pub waiters: Waiters,
    pub release: Release,
    /// Files that may be reused, and what is known of the room on the disk.
    pub pool: Pool,
    /// The first segment that may hold copies of entries: older ones are of an older format version.
    pub moves_from: u64,
    /// A segment with an entry that is too long to be copied, because segments were longer once.
    pub immovable: Option<u64>,
    /// The number of the next use of a file.
    pub next_generation: u32,
    pub failed: Option<LogError>,
    pub closing: bool,
    pub running: bool,
    /// The writer has returned: the log was closed, and all of it is durable.
    pub finished: bool,
    pub stats: LogStats,
    /// `stats.records` when it was last asked whether the log is idle.
    pub idle_mark: u64,
    waker: Option<Waker>,
}

impl<D: Disk> Shared<D> {
    pub fn new(disk: D, dir: &Path, identity: LogIdentity, options: LogOptions, run: u64, state: State<D>) -> Rc<Self> {
        Rc::new(Self { disk, dir: dir.to_owned(), identity, options, run, state: RefCell::new(state) })
    }

    pub fn state(&self) -> RefMut<'_, State<D>> {
        self.state.borrow_mut()
    }

    /// The file of a segment.
    pub fn segment_path(&self, segment: u64) -> PathBuf {
        segment_path(&self.dir, segment)
    }

    /// A new name for a file that waits for reuse.
    pub fn spare_path(&self) -> PathBuf {
        let generation = self.state().new_generation(self.run);
        self.dir.join(format!("{generation:016x}{SPARE_SUFFIX}"))
    }

    /// A new name for a file that is being made.
    pub fn unfinished_path(&self) -> PathBuf {
        let generation = self.state().new_generation(self.run);
        self.dir.join(format!("{generation:016x}{UNFINISHED_SUFFIX}"))
    }

    /// Runs the callbacks of all durable records, in order. Returns whether there was one.
    pub fn tell(&self) -> bool {
        let mut told = false;
        loop {
            let next = self.state().waiters.next_durable();
            let Some((on_durable, outcome)) = next else { return told };
            on_durable(outcome);
            told = true;
        }
    }

    /// Poisons the log and runs all waiting callbacks with the error, in order.
    pub fn fail(&self, error: &LogError) {
        let rest = {
            let mut state = self.state();
            if state.failed.is_some() {
                return;
            }
            state.failed = Some(error.clone());
            state.in_flight.clear();
            while state.queue.take(true).is_some() {}
            state.wake();
            state.waiters.take_rest()
        };
        self.tell();
        for on_durable in rest {
            on_durable(Err(error.clone()));
        }
    }
}

impl<D: Disk> State<D> {
    pub fn new(
        queue: Queue,
        index: Index,
        durable: Position,
        durable_sequence: u64,
        release: Release,
        pool: Pool,
    ) -> Self {
        Self {
            queue,
            index,
            prepared: VecDeque::new(),
            prepared_upto: 0,
            durable,
            durable_sequence,
            sealed: false,
            in_flight: VecDeque::new(),
            waiters: Waiters::default(),
            release,
            pool,
            moves_from: 0,
            immovable: None,
            next_generation: 1,
            failed: None,
            closing: false,
            running: false,
            finished: false,
            stats: LogStats::default(),
            idle_mark: 0,
            waker: None,
        }
    }

    /// A number for the next use of a file: never used before in this log, because the run is new with every opening.
    pub fn new_generation(&mut self, run: u64) -> u64 {
        let generation = run << 32 | u64::from(self.next_generation);
        self.next_generation += 1;
        generation
    }

    /// Wakes [`Log::run`](crate::Log::run); it looks at everything it might have to do.
    pub fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub fn sleep(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }
}
