//! Collecting what has ended, a bounded number at each command.
//!
//! What is due is a function of the state and the machine's time, so that all replicas sweep the same records at the
//! same command. The dead stay for a while: their numbers stay exact, and reads as of an earlier time can be answered.

use kahuna_protocol::Hlc;

use super::commit::Store;
use super::dedupe::drop_answer;
use crate::state::Record;

/// The most dead keys and locks that one command collects; it makes at most one.
const MAX_RECORDS: usize = 8;
/// The most answers, sessions and draws that one command collects, of each.
const MAX_ANSWERS: usize = 64;
/// How long the dead stay, in milliseconds of machine time.
const DEAD_STAY_MS: u64 = 600_000;
/// How long they stay while more than [`CROWD`] records have an end.
const DEAD_STAY_CROWDED_MS: u64 = 10_000;
/// From how many records on the dead stay shorter.
const CROWD: usize = 65_536;

impl Store<'_> {
    /// Collects some of what is due at `now_ms`.
    pub fn sweep(&mut self, now_ms: u64) {
        self.sweep_records(now_ms);
        self.sweep_answers(now_ms);
        self.sweep_sessions(now_ms);
        self.sweep_draws(now_ms);
    }

    fn sweep_records(&mut self, now_ms: u64) {
        for _ in 0..MAX_RECORDS {
            let crowded = self.index.records.len() > CROWD;
            let stay_ms = if crowded { DEAD_STAY_CROWDED_MS } else { DEAD_STAY_MS };
            let stay_ms = stay_ms.max(self.state.settings.history_retention_ms);
            match self.index.records.first() {
                Some((end_ms, position)) if now_ms > end_ms.saturating_add(stay_ms) => {
                    let position = position.clone();
                    self.raise_horizon(&position);
                    self.collect(&position);
                }
                _ => break,
            }
        }
    }

    /// Without the record a read of a time before its end cannot be answered.
    fn raise_horizon(&mut self, position: &kahuna_protocol::Position) {
        let Some(Record::Key(key)) = self.state.rows.records.get(position) else { return };
        let newest = key.newest();
        let dead_since = match (&newest.value, newest.end_ms(self.state.skew_ms())) {
            (Some(_), Some(end_ms)) => Hlc::from_millis(end_ms.saturating_add(1)),
            _ => newest.commit_stamp,
        };
        self.state.horizon = self.state.horizon.max(dead_since);
    }

    fn sweep_answers(&mut self, now_ms: u64) {
        for _ in 0..MAX_ANSWERS {
            match self.index.answers.expiries.first() {
                Some(&(expiry_ms, session, number)) if now_ms > expiry_ms => drop_answer(self, session, number),
                _ => break,
            }
        }
    }

    fn sweep_sessions(&mut self, now_ms: u64) {
        for _ in 0..MAX_ANSWERS {
            match self.index.sessions.first() {
                Some(&(expiry_ms, session)) if now_ms > expiry_ms => {
                    self.index.sessions.pop_first();
                    self.state.rows.sessions.remove(&session);
                }
                _ => break,
            }
        }
    }

    fn sweep_draws(&mut self, now_ms: u64) {
        for _ in 0..MAX_ANSWERS {
            match self.index.draws.first() {
                Some((expires_ms, _)) if now_ms > *expires_ms => {
                    let Some((_, key)) = self.index.draws.pop_first() else { break };
                    self.state.rows.draws.remove(&key);
                }
                _ => break,
            }
        }
    }
}
