//! Exactly once: what a client's commands were answered.

use std::collections::BTreeSet;
use std::rc::Rc;

use kahuna_protocol::{Outcome, SessionId};

use super::table::{BadItem, Items, Restoring, SharedMap, Table, put_last};
use crate::codec::Reader;

const TAG: u8 = 2;

/// Recorded answer to a client's command, for repeats of the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of the request's kind and body.
    pub digest: u64,
    /// The request's `valid_until`, Unix milliseconds.
    pub valid_until_ms: u64,
    /// Outcome of the command.
    pub outcome: Outcome,
}

/// What an answer takes beside the bytes in it, in bytes: itself and its places in the tables. Part of what replicas agree
/// on: another value needs another version of the log.
const ANSWER_BYTES: u64 = 320;

impl Answer {
    /// What it counts, in bytes.
    pub fn bytes(&self) -> u64 {
        let inside = match &self.outcome {
            Outcome::Held(held) => held.owner.len(),
            Outcome::NotOwner(not_owner) => not_owner.owner.len(),
            _ => 0,
        };
        ANSWER_BYTES + inside as u64
    }
}

/// The recorded answers by (session, number).
pub struct Answers;

/// When recorded answers expire, and what they count.
#[derive(Debug, Default)]
pub struct DueAnswers {
    /// (expiry in Unix milliseconds, session, number) of each.
    pub expiries: BTreeSet<(u64, SessionId, u64)>,
    /// What they count together, in bytes.
    pub bytes: u64,
}

impl Table for Answers {
    type Key = (SessionId, u64);
    type Row = Rc<Answer>;
    type Due = DueAnswers;
    type Place = (SessionId, u64);
    type Making = ();

    fn write(
        rows: &SharedMap<(SessionId, u64), Rc<Answer>>,
        last: Option<&(SessionId, u64)>,
        block: &mut Items<'_>,
    ) -> Option<(SessionId, u64)> {
        block.put_rows(rows, last, |(session, number), answer, writer| {
            writer.u8(TAG);
            writer.u64(session.0);
            writer.u64(*number);
            writer.u64(answer.digest);
            writer.u64(answer.valid_until_ms);
            writer.u16(answer.outcome.kind());
            writer.counted(|out| answer.outcome.encode_body(out));
        })
    }

    fn read(_: u8, reader: &mut Reader<'_>, to: &mut Restoring<'_>) -> Result<(), BadItem> {
        let (key, answer) = read(reader).ok_or(BadItem::Content("answer"))?;
        let session = to.state.rows.sessions.get(&key.0);
        if !session.is_some_and(|session| to.making.sessions.take(key.0, session.answers)) {
            return Err(BadItem::Content("answer"));
        }
        let (expiry_ms, bytes) = (to.state.answer_expiry_ms(answer.valid_until_ms), answer.bytes());
        put_last(&mut to.state.rows.answers, key, Rc::new(answer), "answers")?;
        to.index.answers.expiries.insert((expiry_ms, key.0, key.1));
        to.index.answers.bytes += bytes;
        Ok(())
    }

    fn free_due(due: &mut DueAnswers) -> bool {
        due.expiries.pop_first().is_some()
    }
}

fn read(reader: &mut Reader<'_>) -> Option<((SessionId, u64), Answer)> {
    let key = (SessionId(reader.u64()?), reader.u64()?);
    let (digest, valid_until_ms) = (reader.u64()?, reader.u64()?);
    let kind = reader.u16()?;
    let outcome = Outcome::decode(kind, reader.bytes()?).ok()?;
    Some((key, Answer { digest, valid_until_ms, outcome }))
}
