//! The clients of a run: the claims of the simulator, through the client for threads.

use std::{sync::Arc, time::Duration};

use super::{
    ChaosError, Plan,
    asker::{Asker, at_once},
    stop::Stop,
};
use crate::{
    SimRng,
    claims::{Habits, Naming, Process, Workload},
    recorder::Recorder,
};

/// The stream of the seed that client 0 draws from.
const STREAM_CLIENTS: u64 = 2_000;
/// What the clients of one group work on at a time, and how many bytes a large value has more than others.
const KEYS: u64 = 5;
const LOCKS: u64 = 2;
const LARGE_BYTES: usize = 12_000;

/// What all clients share. Each is a process of the history, lives on a client host, and has a session of its own.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    endpoints: Vec<String>,
    recorder: Arc<Recorder>,
    /// Ends their work.
    stop: Stop,
    seed: u64,
    habits: Habits,
}

impl Crowd {
    pub(super) fn new(plan: &Plan, endpoints: Vec<String>, recorder: Arc<Recorder>, stop: Stop) -> Self {
        let temper = plan.profile.temper();
        let habits = Habits {
            think_ms: temper.think_ms,
            workloads: Workload::all().collect(),
            naming: Naming::Groups(temper.groups),
            keys: KEYS,
            locks: LOCKS,
            large_bytes: LARGE_BYTES,
            patience_on_demand: plan.answer_within * 2,
        };
        Self { endpoints, recorder, stop, seed: plan.seed, habits }
    }

    /// The client `number`, on the host that this thread is on.
    fn client(&self, number: u64, stop: Stop) -> Result<Process<Asker>, ChaosError> {
        let asker = Asker::new(format!("chaos-{number}"), self.endpoints.clone(), self.recorder.clone(), stop)?;
        let rng = SimRng::new(self.seed, STREAM_CLIENTS + number);
        Ok(Process::new(number, asker, self.recorder.clone(), self.habits.clone(), rng))
    }

    /// Works as the client `number` until the end is asked for.
    ///
    /// # Errors
    /// `Io` when the client gets no thread.
    pub(super) fn work(&self, number: u64) -> Result<(), ChaosError> {
        let mut client = self.client(number, self.stop.clone())?;
        while !self.stop.is_asked() {
            at_once(client.step());
        }
        Ok(())
    }

    /// Makes what the work takes for granted, within `patience`.
    ///
    /// # Errors
    /// `Io` when the client gets no thread.
    pub(super) fn prepare(&self, number: u64, patience: Duration) -> Result<(), ChaosError> {
        at_once(self.client(number, self.stop.clone())?.prepare(patience));
        Ok(())
    }

    /// Reads everything once, so that the history shows the effect of the last writes.
    ///
    /// # Errors
    /// `Io` when the client gets no thread.
    pub(super) fn read_all(&self, number: u64) -> Result<(), ChaosError> {
        at_once(self.client(number, Stop::default())?.read_all());
        Ok(())
    }
}
