//! Proposers: tasks that take a batch from the queue, propose it, and answer its requests.

use std::rc::Rc;

use kahuna_protocol::Outcome;
use kahuna_protocol::batch::Batch;

use super::deadlines::arm;
use super::flight::Flight;
use super::group::Group;
use crate::env::Env;
use crate::env::local::behind_ready_tasks;
use crate::raft::ProposeError;
use crate::request::Work;

impl<E: Env> Group<E> {
    /// Queues a request that goes through the log. The group leads, or did a moment ago.
    pub(super) fn write(self: &Rc<Self>, work: Work) {
        if let Some(refusal) = self.room().refusal_of(&work.call) {
            return work.answer(refusal);
        }
        arm::<E>(self, work.call.deadline);
        self.proposals.push(work);
        self.start_proposer();
    }

    /// One more proposer, if there is room. It starts behind the tasks that are ready now, so that all of their requests
    /// make one batch; on an idle shard that is at once.
    fn start_proposer(self: &Rc<Self>) {
        if self.proposals.proposers.add() {
            E::spawn(self.clone().run_proposer());
        }
    }

    async fn run_proposer(self: Rc<Self>) {
        behind_ready_tasks().await;
        let proposals = &self.proposals;
        // One round for all requests that arrived meanwhile: openraft refuses each batch of a leader without a lease.
        if !self.replica.has_lease() {
            E::timeout(self.cx.config.timing.election_min, self.replica.read_index()).await;
        }
        proposals.proposers.started();
        loop {
            // What waits is still in the queue, where its deadline, a new leader and the end of the group find it.
            self.time.may_stamp(&self.stopped).await;
            let Some((builder, flight)) = proposals.next(E::boot_clock()) else { break };
            let batch: Batch = builder.finish(self.time.stamp());
            let bytes = batch.bytes().len();
            proposals.flight_began(&flight, bytes);
            let outcomes = self.replica.propose(batch);
            if !proposals.pending().borrow().is_empty() {
                self.start_proposer();
            }
            let outcomes = outcomes.await;
            proposals.flight_ended(&flight, bytes);
            self.settle(&flight, outcomes);
        }
        proposals.proposers.ended();
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
