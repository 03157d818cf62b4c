//! Claim: every key is a linearizable register with a revision, whatever conditions writes have.

use std::time::Duration;

use kahuna_protocol::{
    Outcome as Answer, ReadLevel,
    key::{Condition, KeyDelete, KeyGet, KeySet},
};

use super::{Asks, Process, names::Names};

/// Of so many steps one is done together with others, see [`Process::meet`].
const MEET_ONE_IN: u64 = 2;
/// Of so many writes one is large: logs and snapshots grow by it.
const LARGE_ONE_IN: u64 = 12;

impl<A: Asks> Process<A> {
    pub(super) async fn register_step(&mut self) {
        let key = if self.rng.below(MEET_ONE_IN) == 0 { self.meet().await } else { self.draw_key() };
        match self.rng.below(10) {
            0..4 => self.get(&key).await,
            4..7 => self.set(&key, Condition::default()).await,
            7 => {
                let (key, condition) = self.draw_condition(key);
                self.set(&key, condition).await;
            }
            8 => {
                let (key, condition) = self.draw_condition(key);
                self.delete(&key, condition).await;
            }
            _ => self.delete(&key, Condition::default()).await,
        }
    }

    /// The name of some key.
    pub(super) fn draw_key(&self) -> String {
        self.names().key(self.rng.below(self.habits.keys))
    }

    /// Waits for the next moment at which several processes begin at once, and returns the key that they use. On fast disks
    /// hardly any operations overlap by chance.
    async fn meet(&self) -> String {
        let now = self.recorder.now();
        let apart = Duration::from_millis(self.habits.think_ms.1);
        let next = now.as_nanos() / apart.as_nanos() + 1;
        self.asker.pause(apart * u32::try_from(next).expect("a run is short") - now).await;
        self.names().key(next as u64 % self.habits.keys)
    }

    pub(super) async fn read_registers(&mut self, names: &Names) {
        for number in 0..self.habits.keys {
            self.get(&names.key(number)).await;
        }
    }

    /// A condition, most often on what was read last, and the key that it is about.
    fn draw_condition(&mut self, key: String) -> (String, Condition) {
        match (self.rng.below(4), self.seen.take()) {
            (0, _) => (key, Condition { absent: true, ..Condition::default() }),
            (1, _) => (key, Condition { present: true, ..Condition::default() }),
            (2, Some((key, Some(value), _))) => {
                (key, Condition { value: Some(value.into_bytes()), ..Condition::default() })
            }
            (_, Some((key, value, revision))) => {
                // An absent key has the revision 0 in a condition.
                let revision = if value.is_some() { revision } else { 0 };
                (key, Condition { revision: Some(revision), ..Condition::default() })
            }
            (_, None) => (key, Condition { revision: Some(0), ..Condition::default() }),
        }
    }

    async fn get(&mut self, key: &str) {
        let request = KeyGet { key: key.into(), revision: None, as_of: None };
        // Clocks of clients and nodes run at one rate: a lease is as good as a majority.
        let level = if self.rng.below(4) == 0 { ReadLevel::Lease } else { ReadLevel::Linearizable };
        self.seen = match self.operate_at(level, request).await.map(|reply| reply.outcome) {
            Some(Answer::Value(value)) => {
                let text = String::from_utf8_lossy(&value.value).into_owned();
                self.recorder.books.revisions().see(key, value.revision, Some(&text), Some(value.modified));
                Some((key.into(), Some(text), value.revision))
            }
            Some(Answer::NotFound(absent)) => Some((key.into(), None, absent.revision)),
            _ => None,
        };
    }

    async fn set(&mut self, key: &str, condition: Condition) {
        self.writes += 1;
        let mut value = format!("{}-{}", self.number, self.writes);
        if self.rng.below(LARGE_ONE_IN) == 0 {
            value.extend(std::iter::repeat_n('.', self.habits.large_bytes));
        }
        let set = KeySet { key: key.into(), value: value.clone().into(), ttl_ms: None, condition, no_history: false };
        if let Some(Answer::Set(done)) = self.operate(set).await.map(|reply| reply.outcome) {
            self.recorder.books.revisions().see(key, done.revision, Some(&value), None);
        }
    }

    async fn delete(&mut self, key: &str, condition: Condition) {
        let reply = self.operate(KeyDelete { key: key.into(), condition }).await;
        if let Some(Answer::Deleted(done)) = reply.map(|reply| reply.outcome) {
            self.recorder.books.revisions().see(key, done.revision, None, None);
        }
    }
}
