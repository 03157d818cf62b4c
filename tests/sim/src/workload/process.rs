//! One client process: draws what it does, does it, writes down what came of it.

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use kahuna_client::{CallOptions, ClientError, Reply};
use kahuna_protocol::{ErrorCode, Outcome as Answer, ReadLevel, Request};
use kahuna_shards::env::Env;

use super::{
    Workload,
    kinds::Rota,
    recorder::{Recorder, fill},
};
use crate::{
    Sim, SimRng,
    check::{Event, Kind, Op},
    cluster::SimClient,
    finding::{Finding, Judge},
};

/// How long it waits for an answer, in milliseconds: shorter than some faults, longer than others.
const PATIENCE_MS: (u64, u64) = (1_000, 8_000);

/// A client and what it does.
#[derive(Debug)]
pub struct Process {
    pub(super) number: u64,
    pub(super) client: SimClient,
    pub(super) endpoints: Vec<String>,
    pub(super) recorder: Rc<Recorder>,
    /// Of the step that is done now.
    pub(super) rng: SimRng,
    rota: Rota,
    /// How long it thinks between two operations at most, in milliseconds.
    pub(super) think_ms: u64,
    /// What it does; steps of other kinds are left out, and the others stay what they were.
    workloads: BTreeSet<Workload>,
    pub(super) writes: u64,
    /// The keys with a time to live, and the buckets, that it has given up.
    pub(super) lives: u64,
    pub(super) given_up: u64,
    /// The last grant of a lock that it got.
    pub(super) left: Option<(String, u64)>,
    /// What it read last: a key, its value and its revision.
    pub(super) seen: Option<(String, Option<String>, u64)>,
}

impl Process {
    /// The process `number` with a session of its own, which thinks up to `think_ms` milliseconds between two operations and
    /// does only what is among `workloads`. To be called by a task of the process.
    pub fn new(
        number: u64,
        endpoints: Vec<String>,
        recorder: Rc<Recorder>,
        rng: SimRng,
        think_ms: u64,
        workloads: BTreeSet<Workload>,
    ) -> Self {
        let client = SimClient::new(endpoints.clone());
        let rota = Rota::new(&rng);
        let (writes, lives, given_up, left, seen) = (0, 0, 0, None, None);
        Self {
            number,
            client,
            endpoints,
            recorder,
            rng,
            rota,
            think_ms,
            workloads,
            writes,
            lives,
            given_up,
            left,
            seen,
        }
    }

    /// Thinks, then does one operation or a few that belong together.
    pub async fn step(&mut self) {
        let (workload, rng) = self.rota.next();
        self.rng = rng;
        Sim::sleep(Duration::from_millis(self.rng.between(1, self.think_ms))).await;
        if !self.workloads.contains(&workload) {
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
        }
    }

    /// Makes what the workloads take for granted.
    pub async fn prepare(&mut self) {
        self.create_sequences().await;
    }

    /// Reads everything once, so that the history says what became of the last writes.
    pub async fn read_all(&mut self) {
        self.read_registers().await;
        self.look_at_locks().await;
        self.draw_from_all().await;
    }

    pub(super) fn invocation(&self, op: Op, name: &str) -> Event {
        Event::new(self.number, Kind::Invoke, op, name, now_ns())
    }

    /// Asks, waits, and writes down the invocation and what came of it. `None` unless it was answered.
    pub(super) async fn operate(&mut self, invoked: Event, request: Request) -> Option<Reply> {
        self.operate_at(ReadLevel::Linearizable, invoked, request).await
    }

    /// The same, for a read that may show less than everything.
    pub(super) async fn operate_at(&mut self, read: ReadLevel, invoked: Event, request: Request) -> Option<Reply> {
        self.recorder.begin(&invoked, Sim::boot_clock());
        let answer = self.call(read, &format!("{:?} {:?}", invoked.op, invoked.key), request).await;
        let (completed, finding) = complete(&invoked, &answer, now_ns());
        finding.into_iter().for_each(|finding| self.recorder.find(finding));
        self.recorder.end(completed);
        answer.ok()
    }

    /// Asks for something that a judge of its own writes down.
    pub(super) async fn ask(&mut self, read: ReadLevel, what: &str, request: Request) -> Result<Answer, ClientError> {
        let reply = self.call(read, what, request).await?;
        self.recorder.count_ack();
        Ok(reply.outcome)
    }

    /// Asks and waits. While answers are demanded, there must be one in time.
    async fn call(&mut self, read: ReadLevel, what: &str, request: Request) -> Result<Reply, ClientError> {
        let patience = Duration::from_millis(self.rng.between(PATIENCE_MS.0, PATIENCE_MS.1));
        let began = Sim::boot_clock();
        let demand = self.recorder.demand.get();
        let options = CallOptions { timeout: Some(patience), read, ..CallOptions::default() };
        let answer = self.client.call_with(request, options).await;
        let took = Sim::boot_clock() - began;
        if let Some(bound) = demand {
            self.recorder.demanded.set(self.recorder.demanded.get() + 1);
            let finding = judge_time(what, &answer, took, bound);
            finding.into_iter().for_each(|finding| self.recorder.find(finding));
        }
        if let Err(error @ ClientError::Protocol(_)) = &answer {
            self.recorder.problem(Judge::Protocol, error.to_string());
        }
        judge_validity(what, &answer).into_iter().for_each(|finding| self.recorder.find(finding));
        answer
    }
}

/// The line that says what came of an operation, and what is wrong with its answer if it is none for it.
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

pub(super) fn now_ns() -> u64 {
    u64::try_from(Sim::boot_clock().as_nanos()).expect("584 years")
}
