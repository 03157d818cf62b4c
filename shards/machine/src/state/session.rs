//! Exactly once: the sessions of clients.

use std::collections::BTreeSet;

use kahuna_protocol::SessionId;

use super::table::{BadItem, Items, Restoring, SharedMap, Table, put_last};
use crate::codec::Reader;

const TAG: u8 = 1;

/// A client's session in this partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Every number below was answered and its answer received.
    pub acknowledged: u64,
    /// How many recorded answers it has.
    pub answers: u64,
    /// The highest `valid_until` of its commands, Unix milliseconds. Until it and the grace are over a late copy of an
    /// acknowledged command may still come, and must find the mark above.
    pub valid_until_ms: u64,
}

/// Sessions by their ids. Due is each session without a recorded answer, at its expiry in Unix milliseconds.
pub struct Sessions;

/// Compares the number of answers in each session's item with the answers read, which follow session by session.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answers that the sessions count and that were not read yet.
    pub owed: u64,
    /// The session whose answers are being read, and how many are left.
    pub current: Option<(SessionId, u64)>,
}

impl Tally {
    /// Takes the next answer, of `session`, which counts `stated` answers. False if the answer cannot belong there.
    pub fn take(&mut self, session: SessionId, stated: u64) -> bool {
        let left = match self.current {
            Some((current, left)) if current == session => left,
            Some((_, 1..)) => return false,
            _ => stated,
        };
        match (left.checked_sub(1), self.owed.checked_sub(1)) {
            (Some(left), Some(owed)) => {
                (self.current, self.owed) = (Some((session, left)), owed);
                true
            }
            _ => false,
        }
    }
}

impl Table for Sessions {
    type Key = SessionId;
    type Row = Session;
    type Due = BTreeSet<(u64, SessionId)>;
    type Place = SessionId;
    type Making = Tally;

    fn write(
        rows: &SharedMap<SessionId, Session>,
        last: Option<&SessionId>,
        block: &mut Items<'_>,
    ) -> Option<SessionId> {
        block.put_rows(rows, last, |id, session, writer| {
            writer.u8(TAG);
            writer.u64(id.0);
            writer.u64(session.acknowledged);
            writer.u64(session.answers);
            writer.u64(session.valid_until_ms);
        })
    }

    fn read(_: u8, reader: &mut Reader<'_>, to: &mut Restoring<'_>) -> Result<(), BadItem> {
        let (id, session) = read(reader).ok_or(BadItem::Content("session"))?;
        let tally = &mut to.making.sessions;
        let owed = tally.owed.checked_add(session.answers);
        tally.owed = owed.filter(|_| tally.current.is_none()).ok_or(BadItem::Content("session"))?;
        put_last(&mut to.state.rows.sessions, id, session, "sessions")?;
        if session.answers == 0 {
            to.index.sessions.insert((to.state.answer_expiry_ms(session.valid_until_ms), id));
        }
        Ok(())
    }

    fn finish(tally: &Tally) -> Result<(), BadItem> {
        if tally.owed == 0 { Ok(()) } else { Err(BadItem::Content("session")) }
    }

    fn free_due(due: &mut Self::Due) -> bool {
        due.pop_first().is_some()
    }
}

fn read(reader: &mut Reader<'_>) -> Option<(SessionId, Session)> {
    let id = SessionId(reader.u64()?);
    let (acknowledged, answers, valid_until_ms) = (reader.u64()?, reader.u64()?, reader.u64()?);
    Some((id, Session { acknowledged, answers, valid_until_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_has_as_many_answers_as_it_says() {
        type Case<'a> = (&'a [(u64, u64)], &'a [u64], bool);
        // What each session says it has, and the sessions of the answers that come.
        let cases: [Case<'_>; 7] = [
            (&[(1, 2), (2, 0), (3, 1)], &[1, 1, 3], true),
            (&[(1, 0)], &[], true),
            (&[(1, 1)], &[], false),
            (&[(1, 1)], &[1, 1], false),
            (&[(1, 2), (2, 1)], &[1, 2, 2], false),
            (&[(1, 1), (2, 2)], &[1, 1, 2], false),
            (&[(1, 1), (2, u64::MAX)], &[1], false),
        ];
        for (sessions, answers, sound) in cases {
            let owed = sessions.iter().try_fold(0_u64, |owed, (_, answers)| owed.checked_add(*answers));
            let mut tally = Tally { owed: owed.unwrap_or(u64::MAX), current: None };
            let stated = |id: &u64| sessions.iter().find(|(session, _)| session == id).map_or(0, |(_, stated)| *stated);
            let taken = answers.iter().all(|id| tally.take(SessionId(*id), stated(id)));
            assert_eq!(taken && tally.owed == 0, sound, "{sessions:?} {answers:?}");
        }
    }
}
