//! The proposal queue: what waits to be proposed, and what is in flight.
//!
//! A batch is one Raft entry. What it costs is per batch, not per command (tens of microseconds of CPU for the three
//! replicas), so batches deepen by themselves under load: the next one is whatever waits when there is room for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::batch::BatchBuilder;

use super::flight::{Flight, Flights};
use super::workers::Workers;
use crate::request::Work;

/// Most batches of one group in flight.
pub const MAX_BATCHES: u32 = 8;
/// No further batch is proposed while this many bytes are in flight.
const MAX_IN_FLIGHT_BYTES: usize = 8 << 20;
/// A batch takes no further command beyond this length, nor beyond half a log segment; one larger command stands alone.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// Most commands in a batch. A batch is applied without a pause, while all other tasks of the shard wait: some microseconds
/// a command, and more while a snapshot is written, because its view shares the tables.
pub const MAX_BATCH_COMMANDS: u32 = 32;

/// Capacity that an empty queue keeps. Without the limit a burst would leave it with room for all of a shard's requests in
/// flight.
const KEEP_PENDING: usize = 256;

/// What waits to be proposed and what was.
pub(super) struct Proposals {
    max_batch_bytes: usize,
    pending: RefCell<VecDeque<Work>>,
    flights: Flights,
    in_flight_bytes: Cell<usize>,
    /// Tasks that propose a batch and wait for it, then take the next.
    pub(super) proposers: Workers,
}

impl Proposals {
    /// For a log of segments of this size: one of them holds at least one batch.
    pub(super) fn new(segment_bytes: u64) -> Self {
        let half_segment = usize::try_from(segment_bytes / 2).unwrap_or(usize::MAX);
        Self {
            max_batch_bytes: MAX_BATCH_BYTES.min(half_segment),
            pending: RefCell::default(),
            flights: Flights::new(),
            in_flight_bytes: Cell::new(0),
            proposers: Workers::new(MAX_BATCHES),
        }
    }

    pub(super) fn take_pending(&self) -> VecDeque<Work> {
        self.pending.take()
    }

    /// Takes everything that was proposed and is not answered.
    pub(super) fn take_proposed(&self) -> Vec<Work> {
        self.flights.all().iter().flat_map(|flight| flight.take_all()).collect()
    }

    pub(super) fn flights(&self) -> Vec<Rc<Flight>> {
        self.flights.all()
    }

    pub(super) fn pending(&self) -> &RefCell<VecDeque<Work>> {
        &self.pending
    }

    /// Puts a request at the end of the queue.
    pub(super) fn push(&self, work: Work) {
        self.pending.borrow_mut().push_back(work);
    }

    /// Counts a batch of `bytes` as in flight.
    pub(super) fn flight_began(&self, flight: &Rc<Flight>, bytes: usize) {
        self.in_flight_bytes.set(self.in_flight_bytes.get() + bytes);
        self.flights.insert(flight);
    }

    /// The end of [`flight_began`](Self::flight_began).
    pub(super) fn flight_ended(&self, flight: &Rc<Flight>, bytes: usize) {
        self.in_flight_bytes.set(self.in_flight_bytes.get() - bytes);
        self.flights.remove(flight);
    }

    /// The commands of the next batch; `None` if the batch has to wait or nothing is queued.
    pub(super) fn next(&self, now: Duration) -> Option<(BatchBuilder, Rc<Flight>)> {
        if self.in_flight_bytes.get() >= MAX_IN_FLIGHT_BYTES {
            return None;
        }
        let (mut builder, mut works, mut late) = (BatchBuilder::new(), Vec::new(), Vec::new());
        {
            let mut pending = self.pending.borrow_mut();
            while let Some(work) = pending.front() {
                let full = builder.bytes() + work.call.body.len() > self.max_batch_bytes;
                if builder.count() > 0 && (full || builder.count() >= MAX_BATCH_COMMANDS) {
                    break;
                }
                let work = pending.pop_front().expect("the front was just seen");
                if work.call.deadline <= now {
                    late.push(work);
                    continue;
                }
                builder.push(work.call.kind, 0, &work.call.prelude, &work.call.body);
                works.push(work);
            }
            if pending.is_empty() {
                pending.shrink_to(KEEP_PENDING);
            }
        }
        late.into_iter().for_each(Work::time_out);
        (!works.is_empty()).then(|| (builder, Flight::new(works)))
    }
}
