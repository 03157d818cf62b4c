//! What is due when: computed from the state, so never in a snapshot and never cloned.

use std::collections::BTreeSet;

use kahuna_protocol::Position;

use super::DrawKey;
#[cfg(test)]
use super::State;

/// Everything that ends by machine time, in the order of its end; all times in Unix milliseconds.
#[derive(Debug, Default)]
pub struct Index {
    /// (end, position) of each record that has an end.
    pub endings: BTreeSet<(u64, Position)>,
    /// (expiry, session, number) of each recorded answer.
    pub answers: BTreeSet<(u64, u64, u64)>,
    /// (expiry, session) of each session without a recorded answer.
    pub sessions: BTreeSet<(u64, u64)>,
    /// (expiry, draw) of each draw under an idempotency key.
    pub draws: BTreeSet<(u64, DrawKey)>,
}

impl Index {
    /// Moves a record from one end to another.
    pub fn move_ending(&mut self, position: &Position, from: Option<u64>, to: Option<u64>) {
        if from == to {
            return;
        }
        if let Some(end) = from {
            self.endings.remove(&(end, position.clone()));
        }
        if let Some(end) = to {
            self.endings.insert((end, position.clone()));
        }
    }

    /// Whether this is the index of `state`: the invariant, for tests.
    #[cfg(test)]
    pub fn fits(&self, state: &State) -> bool {
        let built = Self::of(state);
        self.endings == built.endings
            && self.answers == built.answers
            && self.sessions == built.sessions
            && self.draws == built.draws
    }

    /// The index of `state`.
    #[cfg(test)]
    pub fn of(state: &State) -> Self {
        let mut index = Self::default();
        for (position, record) in &state.records {
            index.move_ending(position, None, record.end_ms(state.skew_ms()));
        }
        for (&(session, number), answer) in &state.answers {
            index.answers.insert((state.answer_expiry_ms(answer.valid_until_ms), session, number));
        }
        for (&id, session) in &state.sessions {
            if session.answers == 0 {
                index.sessions.insert((state.answer_expiry_ms(session.valid_until_ms), id));
            }
        }
        for (key, draw) in &state.draws {
            index.draws.insert((draw.expires_ms, key.clone()));
        }
        index
    }
}
