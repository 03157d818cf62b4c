//! What the nodes serve: a few records, and every write's outcome under its number.

use std::collections::BTreeMap;
use std::sync::Mutex;

use kahuna_client::protocol::key::{NotFound, Page, PageItem, Set, Value};
use kahuna_client::protocol::lock::{Acquired, LockExtended, LockState, NotHeld, Released};
use kahuna_client::protocol::meta::Map;
use kahuna_client::protocol::sequence::{Allocated, SequenceCreated};
use kahuna_client::protocol::{ErrorCode, ErrorReply, Outcome, RangeMap, Request, RequestPrelude, SessionId};

/// The nodes' clock, Unix milliseconds.
pub const SERVER_MS: u64 = 1_700_000_000_000;

/// What all nodes of a test share.
#[derive(Default)]
pub struct Store {
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    keys: BTreeMap<Vec<u8>, (Vec<u8>, u64)>,
    drawn: i64,
    recorded: BTreeMap<(SessionId, u64), Outcome>,
}

impl Store {
    /// How many writes were applied.
    pub fn applied(&self) -> usize {
        self.records.lock().expect("no panic").recorded.len()
    }

    pub fn serve(&self, prelude: &RequestPrelude, request: &Request) -> Outcome {
        let mut records = self.records.lock().expect("no panic");
        let identity = (prelude.session, prelude.number);
        if let Some(outcome) = records.recorded.get(&identity) {
            return outcome.clone();
        }
        let outcome = records.apply(request);
        if prelude.session != SessionId(0) {
            records.recorded.insert(identity, outcome.clone());
        }
        outcome
    }
}

impl Records {
    fn apply(&mut self, request: &Request) -> Outcome {
        match request {
            Request::KeySet(body) => {
                let revision = self.keys.get(&body.key).map_or(1, |(_, revision)| revision + 1);
                self.keys.insert(body.key.clone(), (body.value.clone(), revision));
                Set { revision }.into()
            }
            Request::KeyGet(body) => match self.keys.get(&body.key) {
                Some((value, revision)) => {
                    Value { value: value.clone(), revision: *revision, modified: 1, deadline_ms: None }.into()
                }
                None => NotFound { revision: 0 }.into(),
            },
            Request::KeyScan(body) => {
                let found = self.keys.iter().filter(|(key, _)| key.starts_with(&body.space));
                let mut found =
                    found.filter(|(key, _)| if body.after { **key > body.from } else { **key >= body.from });
                let items: Vec<_> = found
                    .by_ref()
                    .take(body.limit as usize)
                    .map(|(key, (value, revision))| PageItem {
                        key: key.clone(),
                        value: value.clone(),
                        revision: *revision,
                        modified: 1,
                        deadline_ms: None,
                    })
                    .collect();
                let more = found.next().map(|_| items.last().expect("a limit above 0").key.clone());
                Page { items, more, as_of: body.as_of.unwrap_or(99) }.into()
            }
            Request::LockAcquire(body) => Acquired { token: 5, deadline_ms: SERVER_MS + body.ttl_ms }.into(),
            Request::LockExtend(body) => LockExtended { token: 5, deadline_ms: SERVER_MS + body.ttl_ms }.into(),
            Request::LockRelease(_) => Released { token: 5 }.into(),
            Request::LockInfo(body) if body.name == b"free" => NotHeld { last_token: 4 }.into(),
            Request::LockInfo(_) => {
                LockState { owner: b"me".to_vec(), token: 5, deadline_ms: SERVER_MS, waiters: 0 }.into()
            }
            Request::SequenceCreate(_) => SequenceCreated { incarnation: 1 }.into(),
            Request::SequenceNext(_) => {
                self.drawn += 1;
                Allocated { incarnation: 1, start: self.drawn, end: self.drawn, count: 1 }.into()
            }
            Request::MapGet(_) => Map { ranges: RangeMap::even(4), nodes: Vec::new() }.into(),
            other => ErrorReply::new(ErrorCode::Unsupported, format!("{other:?}")).into(),
        }
    }
}
