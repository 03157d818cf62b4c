//! A machine with a clock that the test sets.

use kahuna_machine::{Machine, Range, Read, Restore};
use kahuna_protocol::batch::{Batch, BatchBuilder};
use kahuna_protocol::key::{KeyScan, NotFound, Page, Set, Value};
use kahuna_protocol::lock::{Acquired, Released};
use kahuna_protocol::meta::{Settings, Tick};
use kahuna_protocol::{ErrorCode, Hlc, Outcome, ReadLevel, Request, RequestPrelude, RequestRef};

use super::{acquire, get, release, set};

/// The skew of every bench, in milliseconds.
pub const SKEW_MS: u64 = 250;
/// The clock of a fresh bench, in Unix milliseconds.
pub const START_MS: u64 = 1_000_000;

pub fn settings() -> Settings {
    Settings { max_clock_skew_ms: 250, ..Settings::default() }
}

pub struct Bench {
    pub machine: Machine,
    pub clock_ms: u64,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(settings(), Range::all(1))
    }

    pub fn with(settings: Settings, range: Range) -> Self {
        Self { machine: Machine::new(settings, range), clock_ms: START_MS }
    }

    /// Applies one command outside of any session.
    pub fn run(&mut self, request: impl Into<Request>) -> Outcome {
        self.run_as(RequestPrelude::default(), request)
    }

    /// Applies one command under a session.
    pub fn run_as(&mut self, prelude: RequestPrelude, request: impl Into<Request>) -> Outcome {
        let batch = batch(self.clock_ms, [(prelude, request.into())]);
        let mut applied = self.machine.apply(&batch).expect("a readable batch");
        assert_eq!(applied.outcomes.len(), 1);
        applied.outcomes.remove(0)
    }

    /// Applies many commands in one batch.
    pub fn run_all(&mut self, requests: impl IntoIterator<Item = Request>) -> Vec<Outcome> {
        let requests = requests.into_iter().map(|request| (RequestPrelude::default(), request));
        self.machine.apply(&batch(self.clock_ms, requests)).expect("a readable batch").outcomes
    }

    pub fn read(&self, request: impl Into<Request>) -> Read {
        self.read_at(ReadLevel::Linearizable, request)
    }

    pub fn read_at(&self, level: ReadLevel, request: impl Into<Request>) -> Read {
        let request = request.into();
        let mut body = Vec::new();
        request.encode_body(&mut body);
        let view = RequestRef::access(request.kind(), &body).expect("own archive validates");
        self.machine.read(view, self.clock_ms, level)
    }

    /// Reads, with as many ticks as it takes.
    pub fn answer(&mut self, request: impl Into<Request>) -> Outcome {
        let request = request.into();
        loop {
            match self.read(request.clone()) {
                Read::Answer(outcome) => return outcome,
                Read::NeedsTick(to) => {
                    self.run(Tick { to: to.0 });
                }
            }
        }
    }

    pub fn value(&mut self, key: &str) -> Option<Value> {
        match self.answer(get(key)) {
            Outcome::Value(value) => Some(value),
            Outcome::NotFound(_) => None,
            other => panic!("{other:?}"),
        }
    }

    pub fn set(&mut self, key: &str, value: &str) -> u64 {
        match self.run(set(key, value)) {
            Outcome::Set(Set { revision }) => revision,
            other => panic!("{other:?}"),
        }
    }

    /// Takes a lock that must be free; its token.
    pub fn acquire(&mut self, name: &str, owner: &str, ttl_ms: u64) -> u64 {
        match self.run(acquire(name, owner, ttl_ms)) {
            Outcome::Acquired(Acquired { token, .. }) => token,
            other => panic!("{other:?}"),
        }
    }

    pub fn release(&mut self, name: &str, owner: &str) -> u64 {
        match self.run(release(name, owner)) {
            Outcome::Released(Released { token }) => token,
            other => panic!("{other:?}"),
        }
    }

    pub fn page(&mut self, request: KeyScan) -> Page {
        match self.answer(request) {
            Outcome::Page(page) => page,
            other => panic!("{other:?}"),
        }
    }

    /// Lets time go by and gives the sweep commands to run along with.
    pub fn pass(&mut self, ms: u64) {
        self.clock_ms += ms;
        for _ in 0..64 {
            self.run(Tick { to: 0 });
        }
    }
}

pub fn batch(stamp_ms: u64, requests: impl IntoIterator<Item = (RequestPrelude, Request)>) -> Batch {
    let mut builder = BatchBuilder::new();
    for (prelude, request) in requests {
        let mut body = Vec::new();
        request.encode_body(&mut body);
        builder.push(request.kind(), 0, &prelude, &body);
    }
    builder.finish(Hlc::from_millis(stamp_ms))
}

/// Every block of the machine's snapshot.
pub fn blocks(machine: &Machine) -> Vec<Vec<u8>> {
    machine.freeze().into_blocks().collect()
}

/// The machine that a snapshot holds.
pub fn restored(blocks: &[Vec<u8>]) -> Machine {
    let mut restore = Restore::new();
    blocks.iter().for_each(|block| restore.push_block(block).expect("a whole block"));
    restore.finish().expect("a whole snapshot")
}

pub fn code(outcome: &Outcome) -> Option<ErrorCode> {
    match outcome {
        Outcome::Error(reply) => Some(reply.code()),
        _ => None,
    }
}

pub fn answer(read: Read) -> Outcome {
    match read {
        Read::Answer(outcome) => outcome,
        Read::NeedsTick(to) => panic!("needs a tick to {to}"),
    }
}

pub fn not_found(revision: u64) -> Outcome {
    NotFound { revision }.into()
}

pub fn names(page: &Page) -> Vec<String> {
    page.items.iter().map(|item| String::from_utf8(item.key.clone()).expect("test names are UTF-8")).collect()
}
