//! Sequence commands.

use bytes::Bytes;
use kahuna_protocol::Position;
use kahuna_protocol::answer::{AllocateAnswer, CreateAnswer, SequenceDeleteAnswer};
use kahuna_protocol::error::{ErrorCode, ErrorReply};
use kahuna_protocol::position::Kind;
use kahuna_protocol::sequence::{
    Allocated, ArchivedSequenceCreate, ArchivedSequenceDelete, ArchivedSequenceNext, ArchivedSequenceReserve,
    Exhausted, SequenceCreated, SequenceDeleted, SequenceExists, SequenceNotFound,
};

use super::decide::{Decide, How, Refused};
use super::draft::{Draft, Write};
use crate::state::{Draw, DrawKey, Sequence};

/// How long an idempotency key returns its draw, in milliseconds of machine time.
const DRAW_KEPT_MS: u64 = 600_000;
/// The most draws under idempotency keys that a partition keeps at once. None is dropped early: further ones are
/// refused.
const MAX_DRAWS: usize = 1 << 20;
/// The retry pause of a client while there are that many.
const OVERLOADED_RETRY_MS: u32 = 1_000;

/// Makes a sequence where none is.
impl Decide for ArchivedSequenceCreate {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<CreateAnswer, Refused> {
        let position = Position::new(&self.name, Kind::Sequence);
        if let Some(sequence) = draft.sequence(&position) {
            let incarnation = draft.last_number(sequence.incarnation);
            return Ok(SequenceExists { incarnation, value: sequence.value }.into());
        }
        let incarnation = draft.number_after(draft.incarnation_floor());
        let sequence = Sequence {
            incarnation,
            value: self.initial.to_native(),
            increment: self.increment.to_native(),
            max: self.max.as_ref().map(|max| max.to_native()),
        };
        draft.write(Write::Sequence { position, sequence });
        Ok(SequenceCreated { incarnation }.into())
    }
}

impl Decide for ArchivedSequenceNext {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<AllocateAnswer, Refused> {
        draw(draft, &self.name, 1, &self.idempotency_key)
    }
}

impl Decide for ArchivedSequenceReserve {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<AllocateAnswer, Refused> {
        draw(draft, &self.name, self.count.to_native(), &self.idempotency_key)
    }
}

/// Removes a sequence. The floor rises to its incarnation, so that the next one of any name is higher; draws under its
/// idempotency keys name it, and mean nothing to the next one.
impl Decide for ArchivedSequenceDelete {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<SequenceDeleteAnswer, Refused> {
        let position = Position::new(&self.name, Kind::Sequence);
        let Some(sequence) = draft.sequence(&position) else {
            return Ok(SequenceNotFound { last_incarnation: draft.incarnation_floor() }.into());
        };
        let incarnation = draft.last_number(sequence.incarnation);
        draft.write(Write::EndSequence { position, incarnation });
        Ok(SequenceDeleted { incarnation }.into())
    }
}

/// Draws `count` values in one piece, or what was drawn under `idempotency_key` before.
fn draw(draft: &mut Draft<'_>, name: &[u8], count: u64, idempotency_key: &[u8]) -> Result<AllocateAnswer, Refused> {
    let position = Position::new(name, Kind::Sequence);
    let Some(sequence) = draft.sequence(&position) else {
        return Ok(SequenceNotFound { last_incarnation: draft.incarnation_floor() }.into());
    };
    let (mut drawn, incarnation) = (sequence.clone(), draft.last_number(sequence.incarnation));
    let key = (!idempotency_key.is_empty()).then(|| (position.clone(), Bytes::copy_from_slice(idempotency_key)));
    if let Some(key) = &key
        && let Some(allocated) = drawn_before(draft, key, incarnation, count)?
    {
        return Ok(allocated.into());
    }
    let Some((start, end)) = drawn.draw(count) else {
        return Ok(Exhausted { incarnation, value: drawn.value, remaining: drawn.remaining() }.into());
    };
    draft.write(Write::Sequence { position, sequence: drawn });
    if let Some(key) = key {
        let expires_ms = draft.now().ms + DRAW_KEPT_MS;
        draft.write(Write::Draw { key, draw: Draw { incarnation, start, end, count, expires_ms } });
    }
    Ok(Allocated { incarnation, start, end, count }.into())
}

/// What `key` got in this incarnation, if it is kept. An error when it drew another number of values, or when there is no room
/// to keep another draw.
fn drawn_before(draft: &Draft<'_>, key: &DrawKey, incarnation: u64, count: u64) -> Result<Option<Allocated>, Refused> {
    match draft.draw(key) {
        Some(draw) if draw.incarnation == incarnation && draft.now().ms <= draw.expires_ms => {
            let Draw { start, end, count: first, .. } = *draw;
            if first == count {
                return Ok(Some(Allocated { incarnation, start, end, count }));
            }
            let text = format!("the idempotency key drew {first} values before, and now asks for {count}");
            Err(Refused::Recorded(ErrorReply::new(ErrorCode::Conflict, text)))
        }
        None if draft.draws() >= MAX_DRAWS => {
            let text = format!("the partition keeps {MAX_DRAWS} draws under idempotency keys, the most it does; wait");
            let error = ErrorReply::new(ErrorCode::Overloaded, text);
            Err(ErrorReply { retry_after_ms: OVERLOADED_RETRY_MS, ..error }.into())
        }
        _ => Ok(None),
    }
}
