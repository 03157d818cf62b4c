//! One client process: draws what it does, does it, writes down what came of it.

use std::{rc::Rc, time::Duration};

use kahuna_client::{CallOptions, ClientError, Reply};
use kahuna_protocol::{ReadLevel, Request};
use kahuna_shards::env::Env;

use super::recorder::{Recorder, fill};
use crate::{
    Sim, SimRng,
    check::{Event, Kind, Op},
    cluster::SimClient,
    finding::Judge,
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
    pub(super) rng: SimRng,
    /// How long it thinks between two operations at most, in milliseconds.
    think_ms: u64,
    pub(super) writes: u64,
    /// What it read last: a key, its value and its revision.
    pub(super) seen: Option<(String, Option<String>, u64)>,
}

impl Process {
    /// The process `number` with a session of its own, which thinks up to `think_ms` milliseconds between two operations. To
    /// be called by a task of the process.
    pub fn new(number: u64, endpoints: Vec<String>, recorder: Rc<Recorder>, rng: SimRng, think_ms: u64) -> Self {
        let client = SimClient::new(endpoints.clone());
        Self { number, client, endpoints, recorder, rng, think_ms, writes: 0, seen: None }
    }

    /// Thinks, then does one operation or a few that belong together.
    pub async fn step(&mut self) {
        Sim::sleep(Duration::from_millis(self.rng.between(1, self.think_ms))).await;
        match self.rng.below(100) {
            0..60 => self.register_step().await,
            60..78 => self.lock_step().await,
            78..90 => self.sequence_step().await,
            _ => self.duplicate_step().await,
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
        let patience = Duration::from_millis(self.rng.between(PATIENCE_MS.0, PATIENCE_MS.1));
        let began = Sim::boot_clock();
        let demand = self.recorder.demand.get();
        self.recorder.begin(&invoked, began);
        let options = CallOptions { timeout: Some(patience), read, ..CallOptions::default() };
        let answer = self.client.call_with(request, options).await;
        let took = Sim::boot_clock() - began;
        if let Some(bound) = demand {
            self.recorder.demanded.set(self.recorder.demanded.get() + 1);
            if answer.is_err() || took > bound {
                let what = answer.as_ref().map_or_else(ToString::to_string, |_| "an answer".into());
                let (op, key) = (invoked.op, &invoked.key);
                let text = format!("the cluster is whole, and {op:?} {key:?} took {took:?} for {what}");
                self.recorder.problem(Judge::Liveness, text);
            }
        }
        let kind = match &answer {
            Ok(_) => Kind::Ok,
            Err(ClientError::Refused(_) | ClientError::Unavailable { .. }) => Kind::Fail,
            Err(ClientError::Unknown { .. }) => Kind::Info,
            Err(error @ ClientError::Protocol(_)) => {
                self.recorder.problem(Judge::Protocol, error.to_string());
                Kind::Info
            }
        };
        let mut completed = invoked.completion(kind, now_ns());
        if let Ok(reply) = &answer
            && !fill(&mut completed, &reply.outcome)
        {
            self.recorder.problem(Judge::Protocol, format!("{:?} in answer to {:?}", reply.outcome, invoked.op));
            completed = invoked.completion(Kind::Info, now_ns());
        }
        self.recorder.end(completed);
        answer.ok()
    }
}

pub(super) fn now_ns() -> u64 {
    u64::try_from(Sim::boot_clock().as_nanos()).expect("584 years")
}
