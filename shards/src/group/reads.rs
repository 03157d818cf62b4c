//! Reads: one ReadIndex round for all that wait, then the machine's answer.
//!
//! A round is begun after every request in it arrived, so its result holds for all of them. Machine time moves with
//! entries only: a read that would show a record whose deadline the clock has passed, but machine time has not, first
//! commits one `Tick`, shared by all reads of the round.

use std::rc::Rc;
use std::time::Duration;

use kahuna_machine::Read;
use kahuna_protocol::meta::Tick;
use kahuna_protocol::{ErrorCode, Hlc, Outcome, ReadLevel, Request, RequestRef};

use super::deadlines::arm;
use super::flight::Flight;
use super::group::Group;
use crate::env::Env;
use crate::env::local::behind_ready_tasks;
use crate::request::{Answer, Work};

/// A task answers so many reads before it lets others run; a long answer counts as several.
const READS_PER_SLICE: usize = 64;
const READ_UNIT_BYTES: usize = 4 << 10;

impl<E: Env> Group<E> {
    /// Queues a read at the leader.
    pub(super) fn read(self: &Rc<Self>, work: Work) {
        arm::<E>(self, work.call.deadline);
        self.rounds.push(work);
        self.start_reader();
    }

    /// Answers from what this replica has applied, wherever the leader is.
    pub(super) fn read_stale(self: &Rc<Self>, work: Work) {
        if work.is_in_vain() {
            return work.reply.refuse_full();
        }
        // Before the clocks are judged, only machine time decides which leases have ended.
        let clock_ms = self.cx.clock.agreed().unwrap_or_default().as_millis();
        match self.read_machine(&work, clock_ms) {
            Ok(outcome) => work.at(self.time.machine_time()).answer(outcome),
            Err(wanted) => {
                let text = format!("this replica has applied less than {wanted}; read at level linearizable");
                work.refuse(ErrorCode::TimedOut, text);
            }
        }
    }

    fn start_reader(self: &Rc<Self>) {
        if self.rounds.readers.add() {
            E::spawn(self.clone().run_reader());
        }
    }

    async fn run_reader(self: Rc<Self>) {
        behind_ready_tasks().await;
        let rounds = &self.rounds;
        rounds.readers.started();
        loop {
            self.time.may_stamp(&self.stopped).await;
            let works = rounds.take_pending();
            if works.is_empty() {
                break;
            }
            // A lease read is a ReadIndex whose round the leader's lease stands for; one strict read makes all strict.
            let lease = works.iter().all(|work| work.call.prelude.read == ReadLevel::Lease);
            let flight = Flight::new(works);
            rounds.round_began(&flight);
            // A round that outlasts its reads is given up, so that the next ones get theirs.
            let limit = || flight.latest().map_or(Duration::ZERO, |last| last.saturating_sub(E::boot_clock()));
            let leased = lease && matches!(E::timeout(limit(), self.replica.lease_read()).await, Some(Ok(())));
            if leased || matches!(E::timeout(limit(), self.replica.read_index()).await, Some(Ok(()))) {
                self.answer_round(&flight).await;
            } else {
                self.again(flight.take_all());
            }
            rounds.round_ended(&flight);
        }
        rounds.readers.ended();
    }

    async fn answer_round(self: &Rc<Self>, flight: &Flight) {
        // One time for the whole round: after the tick, no further record can have ended for it.
        let clock_ms = self.time.now_ms();
        let Some(tick) = self.answer_reads(flight, clock_ms).await else { return };
        let Some(last) = flight.latest() else { return };
        let timeout = last.saturating_sub(E::boot_clock());
        let ticked = self.system(&Request::Tick(Tick { to: tick.0 }), timeout).await;
        if !matches!(ticked, Outcome::Done(_)) {
            return self.again(flight.take_all());
        }
        if self.answer_reads(flight, clock_ms).await.is_some() {
            self.again(flight.take_all());
        }
    }

    /// Answers what can be answered; the highest machine time that the others need, if there are any.
    async fn answer_reads(&self, flight: &Flight, clock_ms: u64) -> Option<Hlc> {
        // Leases end by machine time: no reader may push it further than true clocks can differ.
        let max_ahead_ms = u64::from(self.replica.machine().borrow().settings().max_clock_skew_ms);
        let (mut tick, mut answered) = (None, 0);
        for index in 0..flight.len() {
            if answered >= READS_PER_SLICE {
                answered = 0;
                E::yield_now().await;
            }
            let Some(work) = flight.take(index) else { continue };
            answered += 1;
            if work.is_in_vain() {
                work.reply.refuse_full();
                continue;
            }
            match self.read_machine(&work, clock_ms) {
                Ok(outcome) => {
                    let answer = Answer::from(outcome);
                    answered += answer.bytes() / READ_UNIT_BYTES;
                    work.at(self.time.machine_time()).answer(answer);
                }
                Err(wanted) if wanted.millis() > clock_ms.saturating_add(max_ahead_ms) => {
                    let text = format!(
                        "as_of {wanted} is more than {max_ahead_ms} ms (max_clock_skew_ms) ahead of the leader's clock"
                    );
                    work.refuse(ErrorCode::BadRequest, text);
                }
                Err(wanted) => {
                    tick = tick.max(Some(wanted));
                    flight.put_back(index, work);
                }
            }
        }
        tick
    }

    /// Asks the machine: its answer, or the machine time that it needs first.
    fn read_machine(&self, work: &Work, clock_ms: u64) -> Result<Outcome, Hlc> {
        let call = &work.call;
        let request = RequestRef::access(call.kind, &call.body).expect("the body validated when it came in");
        match self.replica.machine().borrow().read(request, clock_ms, call.prelude.read) {
            Read::Answer(outcome) => Ok(outcome),
            Read::NeedsTick(wanted) => Err(wanted),
        }
    }
}
