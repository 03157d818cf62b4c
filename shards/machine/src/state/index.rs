//! What is due when: computed from the state, so never in a snapshot and never cloned.

use std::collections::BTreeSet;

use kahuna_protocol::Position;

use super::DrawKey;

/// Everything that ends by machine time, in the order of its end; all times in Unix milliseconds.
#[derive(Debug, Default)]
pub struct Index {
    /// (end, position) of each record that has an end.
    pub endings: BTreeSet<(u64, Position)>,
    /// (expiry, session, number) of each recorded answer.
    pub answers: BTreeSet<(u64, u64, u64)>,
    /// What the recorded answers count together, in bytes.
    pub answer_bytes: u64,
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
}
