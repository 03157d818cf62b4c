//! Claim: a write that arrives twice is applied once, and both answers are the first one's.
//!
//! The same frame goes to two nodes at once on connections of their own, as no well-behaved client does: the answers, if
//! there are two, must be equal, and the history shows it when a value is missing.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kahuna_client::wire::{ConnectOptions, Connection, WireError};
use kahuna_protocol::{Durability, Outcome as Answer, ReadLevel, Request, RequestPrelude, sequence::SequenceNext};

use super::{Worker, names::twice};
use crate::{
    check::{Kind, Op},
    workload::fill,
};

/// How long such a request may be applied, and how long its answer is waited for.
const PATIENCE: Duration = Duration::from_secs(4);

impl Worker {
    pub(super) fn duplicate_step(&mut self) {
        let name = twice(self.group);
        let request = Request::from(SequenceNext { name: name.clone().into(), idempotency_key: Vec::new() });
        let valid_for = u64::try_from(PATIENCE.as_millis()).expect("seconds");
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let prelude = RequestPrelude {
            // A session for this one request; seeds of two runs must not meet in it.
            session: (self.rng.draw() ^ u64::try_from(unix.as_nanos()).unwrap_or_default()).max(1),
            number: 1,
            acknowledged: 1,
            valid_until_ms: u64::try_from(unix.as_millis()).unwrap_or_default() + valid_for,
            timeout_ms: u32::try_from(valid_for).expect("seconds"),
            read: ReadLevel::Linearizable,
            durability: Durability::Persistent,
        };
        let endpoints = &self.setting.endpoints;
        let pick = || endpoints[self.rng.below(endpoints.len() as u64) as usize].as_str();
        let (one, two) = (pick(), pick());
        let mut invoked = self.invocation(Op::SeqNext, &name);
        invoked.increment = Some(1);
        let recorder = &self.setting.recorder;
        recorder.write(&invoked);
        let (one, two) = thread::scope(|scope| {
            let other = scope.spawn(|| ask(two, &prelude, &request));
            (ask(one, &prelude, &request), other.join().expect("asking does not panic"))
        });
        let decided = |answer: Option<Answer>| answer.filter(|answer| matches!(answer, Answer::Allocated(_)));
        let (one, two) = (decided(one), decided(two));
        if let (Some(one), Some(two)) = (&one, &two) {
            recorder.count_duplicate();
            if one != two {
                recorder.problem(format!("one request was answered {one:?} and {two:?}"));
            }
        }
        // Without an answer nobody knows: the other node may still be at it.
        let mut completed = invoked.completion(Kind::Info, recorder.now_ns());
        if let Some(answer) = one.or(two) {
            completed.kind = Kind::Ok;
            fill(&mut completed, &answer);
        }
        recorder.write(&completed);
    }
}

/// The answer of one node, if it gives one in time.
fn ask(endpoint: &str, prelude: &RequestPrelude, request: &Request) -> Option<Answer> {
    let until = Instant::now() + PATIENCE;
    let exchange = || -> Result<Answer, WireError> {
        let options = ConnectOptions { timeout: PATIENCE / 4, name: "chaos-twice".into(), ..ConnectOptions::default() };
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
    };
    exchange().ok()
}
