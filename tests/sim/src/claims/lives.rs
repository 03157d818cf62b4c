//! Claim: a key with a time to live is there for that time, then it is gone, and it does not come back.
//!
//! Every process writes keys of its own and reads those of all, some around the moment of their end. After a
//! write of unknown outcome it begins another key.

use std::time::Duration;

use kahuna_client::ClientError;
use kahuna_protocol::{
    Outcome as Answer, ReadLevel, Request,
    key::{Condition, KeyDelete, KeyExtend, KeyGet, KeyPersist, KeySet},
};

use super::{Asks, Process};
use crate::{
    check::{KeyLife, Left},
    finding::Judge,
};

/// In milliseconds: some end before their writer has its answer.
const TTL_MS: (u64, u64) = (50, 1_500);
/// Of a key whose end is waited for.
const SHORT_TTL_MS: (u64, u64) = (50, 300);
/// Around its end it is read so often, and so far apart at most, in milliseconds.
const LOOKS: u64 = 5;
const LOOK_MS: (u64, u64) = (1, 150);
/// Of so many reads one is of any key; the others are of the newest few.
const OLD_ONE_IN: u64 = 4;
const NEWEST: usize = 8;

/// What the writer of a key may do.
enum Change {
    Set(Left),
    Delete,
    /// Moves the deadline, or takes it away.
    Move(Option<Duration>),
}

impl<A: Asks> Process<A> {
    pub(super) async fn life_step(&mut self) {
        match self.rng.below(10) {
            0..5 => {
                if let Some(key) = self.draw_life() {
                    self.read_life(&key).await;
                }
            }
            5 | 6 => {
                let ttl = (self.rng.below(4) > 0).then(|| self.draw_ttl(TTL_MS));
                self.write_life(ttl).await;
            }
            7 => self.watch_a_life_end().await,
            8 => {
                let ttl = (self.rng.below(3) > 0).then(|| self.draw_ttl(TTL_MS));
                self.change_life(Change::Move(ttl)).await;
            }
            _ => self.change_life(Change::Delete).await,
        }
    }

    fn draw_ttl(&self, (least, most): (u64, u64)) -> Duration {
        Duration::from_millis(self.rng.between(least, most))
    }

    fn draw_life(&self) -> Option<String> {
        let lives = self.recorder.books.lives();
        let from = if self.rng.below(OLD_ONE_IN) == 0 { 0 } else { lives.names.len().saturating_sub(NEWEST) };
        let names = &lives.names[from..];
        names.get(self.rng.below(names.len() as u64) as usize).cloned()
    }

    fn own_life(&self) -> String {
        format!("life-{}-{}", self.number, self.lives)
    }

    async fn write_life(&mut self, ttl: Option<Duration>) {
        self.writes += 1;
        let value = Some(format!("{}-{}", self.number, self.writes));
        self.change_life(Change::Set(Left { value, ttl })).await;
    }

    /// Writes a key that ends soon, and looks at it until it must have ended.
    async fn watch_a_life_end(&mut self) {
        let key = self.own_life();
        let ttl = self.draw_ttl(SHORT_TTL_MS);
        self.write_life(Some(ttl)).await;
        self.asker.pause(ttl).await;
        for _ in 0..LOOKS {
            self.pause(LOOK_MS).await;
            self.read_life(&key).await;
        }
    }

    async fn read_life(&mut self, key: &str) {
        let request = KeyGet { key: key.into(), revision: None, as_of: None };
        let level = if self.rng.below(4) == 0 { ReadLevel::Lease } else { ReadLevel::Linearizable };
        let begun = self.recorder.now();
        let seen = match self.ask(level, key, request).await {
            Ok(Answer::Value(value)) => Some(String::from_utf8_lossy(&value.value).into_owned()),
            Ok(Answer::NotFound(_)) => None,
            Ok(other) => {
                return self.recorder.problem(Judge::Protocol, format!("{other:?} in answer to a get of {key}"));
            }
            Err(_) => return,
        };
        self.with_life(key, |life| life.read(begun, self.recorder.now(), seen));
    }

    async fn change_life(&mut self, change: Change) {
        let key = self.own_life();
        let before = self.with_life(&key, |life| life.value());
        let (left, request) = say(&key, change, before.clone());
        let begun = self.recorder.now();
        self.with_life(&key, |life| life.begins(begun, left));
        let answer = self.ask(ReadLevel::Linearizable, &key, request).await;
        let ended = self.recorder.now();
        self.with_life(&key, |life| match &answer {
            Ok(Answer::Set(_)) => life.ended(ended),
            Ok(Answer::Deleted(_) | Answer::KeyExtended(_)) => {
                life.saw(begun, ended, Some(before.unwrap_or_default()));
                life.ended(ended);
            }
            Ok(Answer::NotFound(_)) => {
                life.saw(begun, ended, None);
                life.failed();
            }
            Err(ClientError::Refused(_) | ClientError::Unavailable { .. }) => life.failed(),
            _ => {}
        });
        match answer {
            Ok(Answer::Set(_) | Answer::Deleted(_) | Answer::KeyExtended(_) | Answer::NotFound(_))
            | Err(ClientError::Refused(_) | ClientError::Unavailable { .. }) => {}
            Ok(other) => self.recorder.problem(Judge::Protocol, format!("{other:?} in answer to a write of {key}")),
            Err(_) => self.lives += 1,
        }
    }

    fn with_life<T>(&self, key: &str, note: impl FnOnce(&mut KeyLife) -> T) -> T {
        note(self.recorder.books.lives().named(key))
    }
}

/// What a change leaves, and the request for it.
fn say(key: &str, change: Change, before: Option<String>) -> (Left, Request) {
    let millis = |ttl: Duration| u64::try_from(ttl.as_millis()).expect("it was drawn in milliseconds");
    let (name, condition) = (key.as_bytes().to_vec(), Condition::default());
    match change {
        Change::Set(left) => {
            let value = left.value.clone().unwrap_or_default().into_bytes();
            let ttl_ms = left.ttl.map(millis);
            (left, KeySet { key: name, value, ttl_ms, condition, no_history: false }.into())
        }
        Change::Delete => (Left { value: None, ttl: None }, KeyDelete { key: name, condition }.into()),
        Change::Move(Some(ttl)) => {
            (Left { value: before, ttl: Some(ttl) }, KeyExtend { key: name, ttl_ms: millis(ttl) }.into())
        }
        Change::Move(None) => (Left { value: before, ttl: None }, KeyPersist { key: name }.into()),
    }
}
