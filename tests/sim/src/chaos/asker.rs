//! A client for threads, as claims ask through it: each future is ready at its first poll.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::FutureExt;
use kahuna_client::{
    Call, CallOptions, ClientError, Clock, Options, Reply,
    blocking::Client,
    call::{AcquireAnswer, LockExtendAnswer, SafeDeadline},
    wire::{ConnectOptions, Connection, WireError},
};
use kahuna_protocol::{
    Outcome as Answer, Request, RequestPrelude,
    lock::{LockAcquire, LockExtend},
};

use super::{ChaosError, stop::Stop};
use crate::{claims::Asks, recorder::Recorder};

/// Does what claims do, on the thread that asks.
pub(super) fn at_once<F: Future>(work: F) -> F::Output {
    work.now_or_never().expect("a client for threads waits in its calls, not in their futures")
}

/// A session, and where the nodes are. It lives on the host of the thread that made it.
#[derive(Debug)]
pub(super) struct Asker {
    client: Client,
    endpoints: Vec<String>,
    recorder: Arc<Recorder>,
    stop: Stop,
}

impl Asker {
    /// A client with a session of its own, whose pauses end with `stop`.
    ///
    /// # Errors
    /// `Io` when it gets no thread.
    pub(super) fn new(
        name: String,
        endpoints: Vec<String>,
        recorder: Arc<Recorder>,
        stop: Stop,
    ) -> Result<Self, ChaosError> {
        let options = Options { name, ..Options::new(endpoints.clone()) };
        let client = Client::new(options).map_err(|source| ChaosError::Io { what: "a client".into(), source })?;
        Ok(Self { client, endpoints, recorder, stop })
    }
}

impl Asks for Asker {
    fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or_default()
    }

    async fn pause(&self, time: Duration) {
        self.stop.pause(time);
    }

    async fn call(&self, request: Request, options: CallOptions) -> Result<Reply, ClientError> {
        let (reply, safe) = self.client.call_with(Whole(request), options)?;
        // In this order: what remains is looked at later than the clock, so that the sum is not above the deadline.
        let now = self.recorder.now();
        Ok(Reply { safe_until: safe.map(|safe| now + safe.remaining()), ..reply })
    }

    async fn call_both(
        &self,
        [one, two]: [&str; 2],
        prelude: &RequestPrelude,
        request: &Request,
        patience: Duration,
    ) -> [Option<Answer>; 2] {
        thread::scope(|scope| {
            let other = scope.spawn(|| exchange(two, prelude, request, patience).ok());
            [exchange(one, prelude, request, patience).ok(), other.join().expect("asking does not panic")]
        })
    }
}

/// A request of any kind, whose answer is the whole reply, and for a grant the client's safe time.
struct Whole(Request);

impl From<Whole> for Request {
    fn from(whole: Whole) -> Self {
        whole.0
    }
}

impl Call for Whole {
    type Answer = (Reply, Option<SafeDeadline>);

    fn answer(reply: Reply, clock: &Clock) -> Result<Self::Answer, ClientError> {
        let safe = match &reply.outcome {
            Answer::Acquired(_) => match LockAcquire::answer(reply.clone(), clock)? {
                AcquireAnswer::Acquired(grant) => Some(grant.safe),
                AcquireAnswer::Held(_) => None,
            },
            Answer::LockExtended(_) => match LockExtend::answer(reply.clone(), clock)? {
                LockExtendAnswer::Extended(grant) => Some(grant.safe),
                LockExtendAnswer::NotHeld(_) | LockExtendAnswer::NotOwner(_) => None,
            },
            _ => None,
        };
        Ok((reply, safe))
    }
}

/// What the node at `endpoint` answers to a request on a connection of its own, within `patience`.
fn exchange(
    endpoint: &str,
    prelude: &RequestPrelude,
    request: &Request,
    patience: Duration,
) -> Result<Answer, WireError> {
    let until = Instant::now() + patience;
    let options = ConnectOptions { timeout: patience / 4, name: "chaos-twice".into(), ..ConnectOptions::default() };
    let mut connection = Connection::connect(endpoint, &options)?;
    connection.queue(1, prelude, request);
    connection.flush()?;
    loop {
        // A timeout of zero would mean none.
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        connection.set_read_timeout(Some(left))?;
        let (header, payload) = connection.recv()?;
        if header.request_id == 1 {
            return Ok(Answer::decode(header.kind, &payload)?);
        }
    }
}
