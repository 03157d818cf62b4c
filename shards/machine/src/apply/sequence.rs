//! Sequence commands.

use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::error::{ErrorCode, ErrorReply};
use kahuna_protocol::position::Kind;
use kahuna_protocol::sequence::{
    Allocated, ArchivedSequenceCreate, ArchivedSequenceDelete, Exhausted, SequenceCreated, SequenceDeleted,
    SequenceExists, SequenceNotFound,
};
use kahuna_protocol::{Outcome, Position};

use super::Now;
use crate::Machine;
use crate::state::{Draw, DrawKey, Record, Sequence, in_epoch};

/// How long an idempotency key returns its draw, in milliseconds of machine time.
const DRAW_KEPT_MS: u64 = 600_000;
/// The most draws under idempotency keys that a partition keeps at once. None is dropped early: further ones are
/// refused.
const MAX_DRAWS: usize = 1 << 20;
/// What a client is told to wait while there are that many.
const OVERLOADED_RETRY_MS: u32 = 1_000;

impl Machine {
    /// Makes a sequence where none is.
    pub(super) fn sequence_create(&mut self, body: &ArchivedSequenceCreate) -> Outcome {
        let position = Position::new(&body.name, Kind::Sequence);
        if let Some(sequence) = self.state.sequence(&position) {
            let incarnation = self.incarnation(sequence);
            return SequenceExists { incarnation, value: sequence.value }.into();
        }
        let incarnation = self.number_after(self.state.floors.incarnation);
        let sequence = Sequence {
            incarnation,
            value: body.initial.to_native(),
            increment: body.increment.to_native(),
            max: body.max.as_ref().map(|max| max.to_native()),
        };
        self.insert(position, Record::Sequence(Rc::new(sequence)));
        SequenceCreated { incarnation }.into()
    }

    /// Draws `count` values in one piece, or what was drawn under `idempotency_key` before.
    pub(super) fn sequence_draw(
        &mut self,
        name: &[u8],
        count: u64,
        idempotency_key: &[u8],
        now: Now,
    ) -> Result<Outcome, ErrorReply> {
        let position = Position::new(name, Kind::Sequence);
        let Some(sequence) = self.state.sequence(&position) else {
            return Ok(SequenceNotFound { last_incarnation: self.state.floors.incarnation }.into());
        };
        let (mut drawn, incarnation) = (sequence.clone(), self.incarnation(sequence));
        let key = (!idempotency_key.is_empty()).then(|| (position.clone(), Bytes::copy_from_slice(idempotency_key)));
        if let Some(key) = &key
            && let Some(outcome) = self.drawn_before(key, incarnation, count, now)?
        {
            return Ok(outcome);
        }
        let Some((start, end)) = drawn.draw(count) else {
            return Ok(Exhausted { incarnation, value: drawn.value, remaining: drawn.remaining() }.into());
        };
        self.edit_sequence(&position, |sequence| *sequence = drawn);
        if let Some(key) = key {
            self.keep_draw(key, Draw { incarnation, start, end, count, expires_ms: now.ms + DRAW_KEPT_MS });
        }
        Ok(Allocated { incarnation, start, end, count }.into())
    }

    /// Removes a sequence. The floor rises to its incarnation, so that the next one of any name is higher; draws under
    /// its idempotency keys name it, and mean nothing to the next one.
    pub(super) fn sequence_delete(&mut self, body: &ArchivedSequenceDelete) -> Outcome {
        let position = Position::new(&body.name, Kind::Sequence);
        let Some(sequence) = self.state.sequence(&position) else {
            return SequenceNotFound { last_incarnation: self.state.floors.incarnation }.into();
        };
        let incarnation = self.incarnation(sequence);
        self.collect(&position);
        SequenceDeleted { incarnation }.into()
    }

    /// What `key` got in this incarnation, if it is kept. `Err` when there is no room to keep another one.
    fn drawn_before(
        &self,
        key: &DrawKey,
        incarnation: u64,
        count: u64,
        now: Now,
    ) -> Result<Option<Outcome>, ErrorReply> {
        match self.state.draws.get(key) {
            Some(draw) if draw.incarnation == incarnation && now.ms <= draw.expires_ms => {
                let Draw { start, end, count: first, .. } = *draw;
                if first == count {
                    return Ok(Some(Allocated { incarnation, start, end, count }.into()));
                }
                let text = format!("the idempotency key drew {first} values before, and now asks for {count}");
                Ok(Some(ErrorReply::new(ErrorCode::Conflict, text).into()))
            }
            None if self.state.draws.len() >= MAX_DRAWS => Err(ErrorReply {
                retry_after_ms: OVERLOADED_RETRY_MS,
                ..ErrorReply::new(
                    ErrorCode::Overloaded,
                    format!("the partition keeps {MAX_DRAWS} draws under idempotency keys, the most it does; wait"),
                )
            }),
            _ => Ok(None),
        }
    }

    fn keep_draw(&mut self, key: DrawKey, draw: Draw) {
        self.index.draws.insert((draw.expires_ms, key.clone()));
        if let Some(before) = self.state.draws.insert(key.clone(), draw)
            && before.expires_ms != draw.expires_ms
        {
            self.index.draws.remove(&(before.expires_ms, key));
        }
    }

    /// A restore raises the epoch of every sequence, whenever it was made.
    pub(crate) fn incarnation(&self, sequence: &Sequence) -> u64 {
        in_epoch(sequence.incarnation, self.state.settings.restore_epoch)
    }
}
