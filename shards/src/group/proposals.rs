//! The proposal queue: requests gather while batches are in flight.
//!
//! A batch is one Raft entry. What it costs is per batch, not per command (tens of microseconds of CPU for the three
//! replicas), so batches deepen by themselves under load: the next one is whatever waits when there is room for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::Outcome;
use kahuna_protocol::batch::{Batch, BatchBuilder};

use super::deadlines::arm;
use super::flight::{Flight, Flights};
use super::group::Group;
use crate::env::Env;
use crate::env::local::behind_ready_tasks;
use crate::raft::ProposeError;
use crate::request::Work;

/// Most batches of one group in flight.
pub const MAX_BATCHES: u32 = 8;
/// No further batch is proposed while this many bytes are in flight.
const MAX_IN_FLIGHT_BYTES: usize = 8 << 20;
/// A batch takes no further command beyond this length, nor beyond half a log segment; one larger command stands alone.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// Most commands in a batch. It is applied in one go, while everybody else on the shard waits: some microseconds a command,
/// and more while a snapshot is written, whose view shares the tables.
pub const MAX_BATCH_COMMANDS: u32 = 32;

/// Room for requests that an empty queue keeps: after a burst it would be that for as many as a shard has in flight.
const KEEP_PENDING: usize = 256;

/// What waits to be proposed and what was.
pub(super) struct Proposals {
    max_batch_bytes: usize,
    pending: RefCell<VecDeque<Work>>,
    flights: Flights,
    in_flight_bytes: Cell<usize>,
    /// Tasks that propose a batch and wait for it, then take the next.
    proposers: Cell<u32>,
    /// A proposer was started and has not looked at the queue yet.
    starting: Cell<bool>,
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
            proposers: Cell::new(0),
            starting: Cell::new(false),
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

    /// The commands of the next batch, none if it has to wait or nothing does.
    fn next(&self, now: Duration) -> Option<(BatchBuilder, Rc<Flight>)> {
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

impl<E: Env> Group<E> {
    /// Queues a request that goes through the log. The group leads, or did a moment ago.
    pub(super) fn write(self: &Rc<Self>, work: Work) {
        if let Some(refusal) = self.room().refusal_of(&work.call) {
            return work.answer(refusal);
        }
        arm::<E>(self, work.call.deadline);
        self.proposals.pending.borrow_mut().push_back(work);
        self.start_proposer();
    }

    /// One more proposer, if there is room. It starts behind the tasks that are ready now, so that all of their requests
    /// make one batch; on an idle shard that is at once.
    fn start_proposer(self: &Rc<Self>) {
        let proposals = &self.proposals;
        if proposals.proposers.get() < MAX_BATCHES && !proposals.starting.replace(true) {
            proposals.proposers.set(proposals.proposers.get() + 1);
            E::spawn(self.clone().run_proposer());
        }
    }

    async fn run_proposer(self: Rc<Self>) {
        behind_ready_tasks().await;
        let proposals = &self.proposals;
        // Once for all that came meanwhile: openraft refuses batches of a leader without a lease, each by itself.
        if !self.replica.has_lease() {
            E::timeout(self.cx.config.timing.election_min, self.replica.read_index()).await;
        }
        proposals.starting.set(false);
        loop {
            // What waits is still in the queue, where its deadline, a new leader and the end of the group find it.
            self.time.may_stamp(&self.stopped).await;
            let Some((builder, flight)) = proposals.next(E::boot_clock()) else { break };
            let batch: Batch = builder.finish(self.time.stamp());
            let bytes = batch.bytes().len();
            proposals.in_flight_bytes.set(proposals.in_flight_bytes.get() + bytes);
            proposals.flights.insert(&flight);
            let outcomes = self.replica.propose(batch);
            if !proposals.pending.borrow().is_empty() {
                self.start_proposer();
            }
            let outcomes = outcomes.await;
            proposals.in_flight_bytes.set(proposals.in_flight_bytes.get() - bytes);
            proposals.flights.remove(&flight);
            self.settle(&flight, outcomes);
        }
        proposals.proposers.set(proposals.proposers.get() - 1);
    }

    /// Answers a batch, or sees to it that its requests get another chance.
    fn settle(self: &Rc<Self>, flight: &Flight, outcomes: Result<Vec<Outcome>, ProposeError>) {
        match outcomes {
            Ok(outcomes) => {
                assert_eq!(outcomes.len(), flight.len(), "a batch has one outcome per command");
                let stamp = self.time.machine_time();
                for (index, outcome) in outcomes.into_iter().enumerate() {
                    if let Some(work) = flight.take(index) {
                        work.at(stamp).answer(outcome);
                    }
                }
            }
            // Never appended: nothing of it can be applied.
            Err(ProposeError::NotLeader(_)) => self.again(flight.take_all()),
            Err(ProposeError::Unknown) => self.repeat_proposed(flight.take_all()),
        }
    }

    /// Another attempt for requests that were proposed and lost their batch, where that is safe.
    pub(super) fn repeat_proposed(self: &Rc<Self>, works: Vec<Work>) {
        self.again(works.into_iter().filter_map(Work::after_loss).collect());
    }
}
