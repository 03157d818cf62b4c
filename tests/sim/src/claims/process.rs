//! One client process: draws its operations, carries them out, and records the answers.

use std::{sync::Arc, time::Duration};

use kahuna_client::{CallOptions, ClientError, Reply};
use kahuna_protocol::{ErrorCode, Outcome as Answer, ReadLevel, Request};

use super::{Asks, Habits, Workload, kinds::Rota, names::Names};
use crate::{
    SimRng,
    check::{Event, Kind},
    finding::{Finding, Judge},
    recorder::{
        Recorder,
        words::{fill, invocation},
    },
};

/// How long it waits for an answer, in milliseconds: shorter than some faults, longer than others.
const PATIENCE_MS: (u64, u64) = (1_000, 8_000);

/// A client and what it does.
#[derive(Debug)]
pub(crate) struct Process<A> {
    pub(super) number: u64,
    pub(super) asker: A,
    pub(super) recorder: Arc<Recorder>,
    pub(super) habits: Habits,
    /// Of the step that is done now.
    pub(super) rng: SimRng,
    rota: Rota,
    pub(super) writes: u64,
    /// The keys with a time to live, and the buckets, that it has given up.
    pub(super) lives: u64,
    pub(super) given_up: u64,
    /// The last grant of a lock that it got.
    pub(super) left: Option<(String, u64)>,
    /// What it read last: a key, its value and its revision.
    pub(super) seen: Option<(String, Option<String>, u64)>,
}

impl<A: Asks> Process<A> {
    /// The process `number`, which draws what it does from `rng`.
    pub(crate) fn new(number: u64, asker: A, recorder: Arc<Recorder>, habits: Habits, rng: SimRng) -> Self {
        let rota = Rota::new(&rng);
        let (writes, lives, given_up, left, seen) = (0, 0, 0, None, None);
        Self { number, asker, recorder, habits, rng, rota, writes, lives, given_up, left, seen }
    }

    /// Thinks, then does one operation or a few that belong together.
    pub(crate) async fn step(&mut self) {
        let (workload, rng) = self.rota.next();
        self.rng = rng;
        self.pause(self.habits.think_ms).await;
        if !self.habits.workloads.contains(&workload) {
            return;
        }
        match workload {
            Workload::Keys => self.register_step().await,
            Workload::Locks => self.lock_step().await,
            Workload::Sequences => self.sequence_step().await,
            Workload::Duplicates => self.duplicate_step().await,
            Workload::Lives => self.life_step().await,
            Workload::Cuts => self.cut_step().await,
            Workload::Past => self.past_step().await,
            Workload::Appends => self.append_step().await,
        }
    }

    /// Makes what the claims take for granted, within `patience`.
    pub(crate) async fn prepare(&mut self, patience: Duration) {
        self.create_sequences(patience).await;
    }

    /// Reads everything once, so that the history shows the effect of the last writes.
    pub(crate) async fn read_all(&mut self) {
        for names in self.habits.naming.until(self.recorder.now()) {
            self.read_registers(&names).await;
            self.look_at_locks(&names).await;
            self.read_all_appended(&names.appended()).await;
        }
        self.draw_from_all().await;
    }

    /// Waits for so many milliseconds, drawn from a range.
    pub(super) async fn pause(&self, (least, most): (u64, u64)) {
        self.asker.pause(Duration::from_millis(self.rng.between(least, most))).await;
    }

    /// What this process's keys, locks and sequences are called now.
    pub(super) fn names(&self) -> Names {
        self.habits.naming.of(self.number, self.recorder.now())
    }

    pub(super) fn invocation(&self, request: &Request) -> Event {
        let invoked = invocation(self.number, request, self.recorder.now_ns());
        invoked.expect("what the history has no words for is asked with `ask`")
    }

    /// Sends a request, waits, and records the invocation and its end. `None` unless it was answered.
    pub(super) async fn operate(&mut self, request: impl Into<Request>) -> Option<Reply> {
        self.operate_at(ReadLevel::Linearizable, request).await
    }

    /// The same, for a read that may show less than everything.
    pub(super) async fn operate_at(&mut self, read: ReadLevel, request: impl Into<Request>) -> Option<Reply> {
        let request = request.into();
        let invoked = self.invocation(&request);
        self.recorder.begin(&invoked);
        let answer = self.call(read, &format!("{:?} {:?}", invoked.op, invoked.key), request).await;
        let (completed, finding) = complete(&invoked, &answer, self.recorder.now_ns());
        self.recorder.find(finding);
        self.recorder.end(&completed);
        answer.ok()
    }

    /// Sends a request whose answer goes to a book instead of the history.
    pub(super) async fn ask(
        &mut self,
        read: ReadLevel,
        what: &str,
        request: impl Into<Request>,
    ) -> Result<Answer, ClientError> {
        let reply = self.call(read, what, request.into()).await?;
        self.recorder.count_ack();
        Ok(reply.outcome)
    }

    /// Sends a request and waits. While answers are demanded, one must arrive in time.
    async fn call(&mut self, read: ReadLevel, what: &str, request: Request) -> Result<Reply, ClientError> {
        let mut patience = Duration::from_millis(self.rng.between(PATIENCE_MS.0, PATIENCE_MS.1));
        let demand = self.recorder.demand.begins(self.number);
        if demand.is_some() {
            patience = patience.max(self.habits.patience_on_demand);
        }
        let began = self.recorder.now();
        let options = CallOptions { timeout: Some(patience), read, ..CallOptions::default() };
        let answer = self.asker.call(request, options).await;
        if let Some(bound) = demand {
            let took = self.recorder.now() - began;
            self.recorder.find(judge_time(&format!("{what} of process {}", self.number), &answer, took, bound));
            self.recorder.demand.met(self.number);
        }
        if let Err(error @ ClientError::Protocol(_)) = &answer {
            self.recorder.problem(Judge::Protocol, error.to_string());
        }
        self.recorder.find(judge_validity(what, &answer));
        answer
    }
}

/// The line for the end of an operation, and a finding if the answer does not belong to the operation.
pub(crate) fn complete(invoked: &Event, answer: &Result<Reply, ClientError>, at_ns: u64) -> (Event, Option<Finding>) {
    let kind = match answer {
        Ok(_) => Kind::Ok,
        Err(ClientError::Refused(_) | ClientError::Unavailable { .. }) => Kind::Fail,
        Err(ClientError::Unknown { .. } | ClientError::Protocol(_)) => Kind::Info,
    };
    let mut completed = invoked.completion(kind, at_ns);
    let Ok(reply) = answer else { return (completed, None) };
    if fill(&mut completed, &reply.outcome) {
        return (completed, None);
    }
    let text = format!("{:?} in answer to {:?}", reply.outcome, invoked.op);
    (invoked.completion(Kind::Info, at_ns), Some(Finding::new(Judge::Protocol, text)))
}

/// Whether a cluster that is whole has answered, and within `bound`.
pub(crate) fn judge_time(
    what: &str,
    answer: &Result<Reply, ClientError>,
    took: Duration,
    bound: Duration,
) -> Option<Finding> {
    let late = answer.is_err() || took > bound;
    late.then(|| {
        let came = answer.as_ref().map_or_else(ToString::to_string, |_| "an answer".into());
        let text = format!("the cluster is whole, and {what} took {took:?} for {came}");
        Finding::new(Judge::Liveness, text)
    })
}

/// Whether a request was refused for its time.
pub(crate) fn judge_validity(what: &str, answer: &Result<Reply, ClientError>) -> Option<Finding> {
    let error = answer.as_ref().err()?;
    matches!(error.code()?, ErrorCode::Expired | ErrorCode::Forgotten | ErrorCode::BadRequest)
        .then(|| Finding::new(Judge::Validity, format!("{what} was refused: {error}")))
}
