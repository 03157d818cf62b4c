//! Claim: what is appended to a key is in its value once and behind what was there before, and a key exists at the
//! revision that a read shows.
//!
//! Several processes append to one key. Some appends are made on condition of a revision, and may be refused.

use kahuna_client::ClientError;
use kahuna_protocol::{
    Outcome as Answer, ReadLevel,
    key::{Condition, KeyAppend, KeyExists, KeyGet},
};

use super::{Asks, Process};
use crate::finding::Judge;

/// Of so many appends one is made on a condition.
const CONDITION_ONE_IN: u64 = 4;

impl<A: Asks> Process<A> {
    pub(super) async fn append_step(&mut self) {
        let key = self.names().appended();
        match self.rng.below(4) {
            0 => self.read_appended(&key).await,
            1 => self.ask_for_existence(&key).await,
            _ => self.append(&key).await,
        }
    }

    async fn append(&mut self, key: &str) {
        let mut condition = Condition::default();
        let (item, suffix) = {
            let mut appends = self.recorder.books.appends();
            let appended = appends.named(key);
            if self.rng.below(CONDITION_ONE_IN) == 0 {
                condition.revision = Some(appended.newest());
            }
            appended.begins(self.recorder.now())
        };
        let append = KeyAppend { key: key.into(), suffix: suffix.into(), condition, no_history: false };
        let answer = self.ask(ReadLevel::Linearizable, key, append).await;
        let mut appends = self.recorder.books.appends();
        match answer {
            Ok(Answer::Set(set)) => appends.named(key).applied(item, self.recorder.now(), set.revision),
            Ok(Answer::NotSet(_)) | Err(ClientError::Refused(_) | ClientError::Unavailable { .. }) => {
                appends.named(key).refused(item);
            }
            Ok(other) => self.recorder.problem(Judge::Protocol, format!("{other:?} in answer to an append to {key}")),
            Err(ClientError::Unknown { .. } | ClientError::Protocol(_)) => {}
        }
    }

    async fn read_appended(&mut self, key: &str) {
        let begun = self.recorder.now();
        let get = KeyGet { key: key.into(), revision: None, as_of: None };
        let answer = self.ask(ReadLevel::Linearizable, key, get).await;
        let (mut appends, ended) = (self.recorder.books.appends(), self.recorder.now());
        match answer {
            Ok(Answer::Value(value)) => {
                let text = String::from_utf8_lossy(&value.value);
                appends.named(key).read(begun, ended, Some((&text, value.revision)));
            }
            Ok(Answer::NotFound(_)) => appends.named(key).read(begun, ended, None),
            Ok(other) => self.recorder.problem(Judge::Protocol, format!("{other:?} in answer to a get of {key}")),
            Err(_) => {}
        }
    }

    async fn ask_for_existence(&mut self, key: &str) {
        let begun = self.recorder.now();
        let exists = KeyExists { key: key.into(), revision: None, as_of: None };
        let answer = self.ask(ReadLevel::Linearizable, key, exists).await;
        let (mut appends, ended) = (self.recorder.books.appends(), self.recorder.now());
        match answer {
            Ok(Answer::Exists(exists)) => appends.named(key).existed(begun, ended, Some(exists.revision)),
            Ok(Answer::NotFound(_)) => appends.named(key).existed(begun, ended, None),
            Ok(other) => self.recorder.problem(Judge::Protocol, format!("{other:?} in answer to exists of {key}")),
            Err(_) => {}
        }
    }

    /// Reads all of a key, so that what became of its last appends is known.
    pub(super) async fn read_all_appended(&mut self, key: &str) {
        self.read_appended(key).await;
        self.ask_for_existence(key).await;
    }
}
