//! Claim: the past of a key does not change: by revision, by time, and on any node.

use kahuna_protocol::{Outcome as Answer, ReadLevel, key::KeyGet};

use super::{Asks, Process};
use crate::finding::Judge;

/// How many revisions back one is read: most are kept, some are gone.
const BACK: u64 = 6;

impl<A: Asks> Process<A> {
    pub(super) async fn past_step(&mut self) {
        let key = self.draw_key();
        match self.rng.below(3) {
            0 => self.read_revision(&key).await,
            1 => self.read_at_a_time(&key).await,
            _ => self.read_stale(&key).await,
        }
    }

    fn draw_known(&self, key: &str) -> Option<(u64, Option<u64>)> {
        let back = self.rng.below(BACK) as usize;
        self.recorder.books.revisions().pick(key, back)
    }

    /// Reads a known revision, one of the newest few: its value must be the one seen before, or reported as gone.
    async fn read_revision(&mut self, key: &str) {
        let Some((revision, _)) = self.draw_known(key) else { return };
        let request = KeyGet { key: key.into(), revision: Some(revision), as_of: None };
        let Some(seen) = self.read_past(ReadLevel::Linearizable, request).await else { return };
        let mut revisions = self.recorder.books.revisions();
        revisions.read_back(key, revision, seen.revision, seen.value.as_deref(), seen.written);
    }

    /// Reads what was newest when a known revision was written.
    async fn read_at_a_time(&mut self, key: &str) {
        let Some((_, Some(time))) = self.draw_known(key) else { return };
        let request = KeyGet { key: key.into(), revision: None, as_of: Some(time) };
        let Some(seen) = self.read_past(ReadLevel::Linearizable, request).await else { return };
        let mut revisions = self.recorder.books.revisions();
        revisions.read_at(key, time, seen.revision, seen.value.as_deref(), seen.written);
    }

    /// Reads what some node knows: it may be old, but it was so.
    async fn read_stale(&mut self, key: &str) {
        let request = KeyGet { key: key.into(), revision: None, as_of: None };
        let Some(seen) = self.read_past(ReadLevel::Stale, request).await else { return };
        if let Some(value) = seen.value {
            self.recorder.books.revisions().see(key, seen.revision, Some(&value), seen.written);
        }
    }

    async fn read_past(&mut self, level: ReadLevel, request: KeyGet) -> Option<Seen> {
        let what = format!("{request:?}");
        match self.ask(level, &what, request).await {
            Ok(Answer::Value(value)) => Some(Seen {
                revision: value.revision,
                value: Some(String::from_utf8_lossy(&value.value).into_owned()),
                written: Some(value.modified),
            }),
            Ok(Answer::NotFound(absent)) => Some(Seen { revision: absent.revision, value: None, written: None }),
            Ok(Answer::Compacted(_)) | Err(_) => None,
            Ok(other) => {
                self.recorder.problem(Judge::Protocol, format!("{other:?} in answer to {what}"));
                None
            }
        }
    }
}

/// What came: the value is none for a removal.
struct Seen {
    revision: u64,
    value: Option<String>,
    written: Option<u64>,
}
