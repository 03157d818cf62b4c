//! One client process: draws what it does, does it, writes down what came of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kahuna_client::{Call, CallOptions, ClientError, Options, blocking::Client};
use kahuna_protocol::{Outcome as Answer, ReadLevel};

use super::names::Names;
use crate::{
    SimRng,
    chaos::{ChaosError, plan::Temper, recorder::Recorder, stop::Stop},
    check::{Event, Kind, Op},
    workload::fill,
};

/// How long a process waits for an answer, in milliseconds: shorter than some faults, longer than others.
const PATIENCE_MS: (u64, u64) = (1_000, 8_000);
/// The stream of the seed that client 0 draws from.
const STREAM_CLIENTS: u64 = 2_000;

/// What all processes share.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct Setting {
    pub endpoints: Vec<String>,
    pub recorder: Arc<Recorder>,
    pub stop: Stop,
    pub seed: u64,
    pub temper: Temper,
    /// No demand is longer.
    pub answer_within: Duration,
}

/// A client and what it does.
#[derive(Debug)]
pub(in crate::chaos) struct Worker {
    pub(super) number: u64,
    pub(super) group: u64,
    pub(super) client: Client,
    pub(super) setting: Setting,
    pub(super) rng: SimRng,
    pub(super) writes: u64,
    /// What it read last: a key, its value and its revision.
    pub(super) seen: Option<(String, Option<String>, u64)>,
}

impl Worker {
    /// The process `number`, on the host that this thread is on.
    ///
    /// # Errors
    /// `Io` when the client gets no thread.
    pub(in crate::chaos) fn new(number: u64, setting: Setting) -> Result<Self, ChaosError> {
        let options = Options { name: format!("chaos-{number}"), ..Options::new(setting.endpoints.clone()) };
        let client = Client::new(options).map_err(|source| ChaosError::Io { what: "a client".into(), source })?;
        let rng = SimRng::new(setting.seed, STREAM_CLIENTS + number);
        Ok(Self { number, group: number % setting.temper.groups, client, setting, rng, writes: 0, seen: None })
    }

    /// Works until the end is asked for.
    pub(in crate::chaos) fn work(&mut self) {
        let (least, most) = self.setting.temper.think_ms;
        while self.pause((least, most)) {
            match self.rng.below(100) {
                0..64 => self.register_step(),
                64..82 => self.lock_step(),
                82..94 => self.sequence_step(),
                _ => self.duplicate_step(),
            }
        }
    }

    /// Makes what the work takes for granted, within `patience`.
    pub(in crate::chaos) fn prepare(&self, patience: Duration) {
        for group in 0..self.setting.temper.groups {
            self.create_sequences(group, patience);
        }
    }

    /// Reads everything once, so that the history says what became of the last writes.
    pub(in crate::chaos) fn read_all(&mut self) {
        let groups = self.setting.temper.groups;
        for names in Names::until(groups, self.setting.recorder.now_ns()) {
            self.read_registers(names);
            self.look_at_locks(names);
        }
        for group in 0..groups {
            self.draw_from_all(group);
        }
    }

    /// False when the end was asked for.
    pub(super) fn pause(&self, (least, most): (u64, u64)) -> bool {
        self.setting.stop.pause(Duration::from_millis(self.rng.between(least, most)))
    }

    pub(super) fn names(&self) -> Names {
        Names::at(self.group, self.setting.recorder.now_ns())
    }

    pub(super) fn invocation(&self, op: Op, name: &str) -> Event {
        Event::new(self.number, Kind::Invoke, op, name, self.setting.recorder.now_ns())
    }

    /// Asks, waits, and writes down the invocation and what came of it. `None` unless it was answered.
    pub(super) fn operate<C>(&mut self, invoked: &Event, call: C) -> Option<C::Answer>
    where
        C: Call,
        C::Answer: Clone + Into<Answer>,
    {
        self.operate_at(ReadLevel::Linearizable, invoked, call)
    }

    /// The same, for a read that may show less than everything.
    pub(super) fn operate_at<C>(&mut self, read: ReadLevel, invoked: &Event, call: C) -> Option<C::Answer>
    where
        C: Call,
        C::Answer: Clone + Into<Answer>,
    {
        let recorder = self.setting.recorder.clone();
        let patience = Duration::from_millis(self.rng.between(PATIENCE_MS.0, PATIENCE_MS.1));
        recorder.write(invoked);
        let demanded = recorder.begin();
        let timeout = if demanded.is_some() { patience.max(self.setting.answer_within * 2) } else { patience };
        let began = Instant::now();
        let options = CallOptions { timeout: Some(timeout), read, ..CallOptions::default() };
        let answer = self.client.call_with(call, options);
        let took = began.elapsed();
        let kind = match &answer {
            Ok(_) => Kind::Ok,
            Err(ClientError::Refused(_) | ClientError::Unavailable { .. }) => Kind::Fail,
            Err(ClientError::Unknown { .. }) => Kind::Info,
            Err(error @ ClientError::Protocol(_)) => {
                recorder.problem(error.to_string());
                Kind::Info
            }
        };
        let mut completed = invoked.completion(kind, recorder.now_ns());
        if let Ok(answer) = &answer
            && !fill(&mut completed, &answer.clone().into())
        {
            let answer: Answer = answer.clone().into();
            recorder.problem(format!("{answer:?} in answer to {:?}", invoked.op));
            completed = invoked.completion(Kind::Info, recorder.now_ns());
        }
        recorder.write(&completed);
        recorder.end(demanded, invoked, took, answer.as_ref().err().map(ToString::to_string));
        answer.ok()
    }
}
