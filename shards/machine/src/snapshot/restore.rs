//! Reading: blocks into a machine, one at a time, believing none of them.

use std::rc::Rc;

use kahuna_protocol::Position;
use kahuna_protocol::batch::digest;
use kahuna_protocol::position::Kind;

use super::bytes::Reader;
use super::format::{BlockKind, Fault, SnapshotError, open};
use super::pack::unpack;
use super::{head, items};
use crate::Machine;
use crate::state::{Index, Key, Record, Version};

/// A machine in the making. Blocks go in one by one, so that the shard can do other work between them.
#[derive(Debug, Default)]
pub struct Restore {
    machine: Option<Machine>,
    /// The key whose versions are coming, without those that have come.
    key: Option<(Position, Option<Key>)>,
    /// What the sessions say of their answers.
    tally: Tally,
    number: u32,
    items: u64,
    hash: u64,
    complete: bool,
}

/// Compares how many answers each session says it has with those that came. They come session by session.
#[derive(Debug, Default)]
struct Tally {
    /// Answers that the sessions say they have, and that have not come.
    owed: u64,
    /// The session whose answers are coming, and how many more it says it has.
    current: Option<(u64, u64)>,
}

impl Tally {
    /// Takes the next answer, of `session`, which says it has `stated`. Whether it can be.
    fn take(&mut self, session: u64, stated: u64) -> bool {
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

impl Restore {
    /// Before the first block.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next block in.
    ///
    /// # Errors
    /// What is wrong with the block; nothing can be restored from this snapshot then.
    pub fn push_block(&mut self, block: &[u8]) -> Result<(), SnapshotError> {
        self.take(block).map_err(|fault| SnapshotError { block: self.number, fault })?;
        self.number += 1;
        Ok(())
    }

    /// The machine, once the trailer was taken in.
    ///
    /// # Errors
    /// `Missing` before that.
    pub fn finish(self) -> Result<Machine, SnapshotError> {
        let missing = SnapshotError { block: self.number, fault: Fault::Missing };
        if self.complete { self.machine.ok_or(missing) } else { Err(missing) }
    }

    /// Whether the trailer was taken in.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// What was made so far, to be thrown away.
    pub(crate) fn into_machine(self) -> Option<Machine> {
        self.machine
    }

    fn take(&mut self, block: &[u8]) -> Result<(), Fault> {
        let block = &*unpack(self.number, block)?;
        let (kind, mut reader) = open(self.number, block)?;
        match (kind, self.machine.is_some(), self.complete) {
            (BlockKind::Head, false, _) => {
                let state = head::read(reader)?;
                self.machine = Some(Machine::of(state, Index::default()));
            }
            (BlockKind::Items, true, false) => {
                while !reader.is_empty() {
                    self.take_item(&mut reader)?;
                    self.items += 1;
                }
            }
            (BlockKind::Trailer, true, false) => return self.take_trailer(reader),
            _ => return Err(Fault::Kind(kind as u8)),
        }
        self.hash = digest(self.hash, block);
        Ok(())
    }

    fn take_trailer(&mut self, mut reader: Reader<'_>) -> Result<(), Fault> {
        self.close_key()?;
        let (Some(items), Some(hash), true) = (reader.u64(), reader.u64(), reader.is_empty()) else {
            return Err(Fault::Content("trailer"));
        };
        if items != self.items {
            return Err(Fault::Count { stated: items, read: self.items });
        }
        if hash != self.hash {
            return Err(Fault::Hash { stated: hash, computed: self.hash });
        }
        if self.tally.owed != 0 {
            return Err(Fault::Content("session"));
        }
        self.complete = true;
        Ok(())
    }

    fn take_item(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let tag = reader.u8().ok_or(Fault::Content("item"))?;
        if tag == items::TAG_VERSION {
            let version = items::read_version(reader).ok_or(Fault::Content("version"))?;
            return self.take_version(version);
        }
        self.close_key()?;
        match tag {
            items::TAG_SESSION => self.take_session(reader),
            items::TAG_ANSWER => self.take_answer(reader),
            items::TAG_KEY => {
                let position = items::read_position(reader).ok_or(Fault::Content("key"))?;
                self.key = Some((position, None));
                Ok(())
            }
            items::TAG_LOCK => {
                let (position, lock) = items::read_lock(reader).ok_or(Fault::Content("lock"))?;
                self.take_record(position, Record::Lock(Rc::new(lock)))
            }
            items::TAG_SEQUENCE => {
                let (position, sequence) = items::read_sequence(reader).ok_or(Fault::Content("sequence"))?;
                self.take_record(position, Record::Sequence(Rc::new(sequence)))
            }
            items::TAG_DRAW => self.take_draw(reader),
            _ => Err(Fault::Content("item")),
        }
    }

    fn take_version(&mut self, version: Version) -> Result<(), Fault> {
        match &mut self.key {
            None => Err(Fault::Content("version")),
            Some((_, key @ None)) => {
                *key = Some(Key::new(version));
                Ok(())
            }
            Some((_, Some(key))) => {
                let last = key.version(key.len() - 1).unwrap_or(key.newest());
                if last.revision <= version.revision || last.commit_stamp <= version.commit_stamp {
                    return Err(Fault::Order("versions"));
                }
                key.push_oldest(version);
                Ok(())
            }
        }
    }

    /// The versions of a key are all there when something else comes.
    fn close_key(&mut self) -> Result<(), Fault> {
        match self.key.take() {
            None => Ok(()),
            Some((_, None)) => Err(Fault::Content("key")),
            Some((position, Some(key))) => self.take_record(position, Record::Key(Rc::new(key))),
        }
    }

    fn take_record(&mut self, position: Position, record: Record) -> Result<(), Fault> {
        let Machine { state, index, .. } = self.parts()?;
        let kind = match record {
            Record::Key(_) => Kind::Key,
            Record::Lock(_) => Kind::Lock,
            Record::Sequence(_) => Kind::Sequence,
        };
        if position.name_and_kind().is_none_or(|(_, stated)| stated != kind) || !state.range.contains(&position) {
            return Err(Fault::Content("position"));
        }
        if state.records.get_max().is_some_and(|(last, _)| *last >= position) {
            return Err(Fault::Order("records"));
        }
        index.move_ending(&position, None, record.end_ms(state.skew_ms()));
        state.records.insert(position, record);
        Ok(())
    }

    fn take_session(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let (id, session) = items::read_session(reader).ok_or(Fault::Content("session"))?;
        let owed = self.tally.owed.checked_add(session.answers);
        self.tally.owed = owed.filter(|_| self.tally.current.is_none()).ok_or(Fault::Content("session"))?;
        let Machine { state, index, .. } = self.parts()?;
        if state.sessions.get_max().is_some_and(|(last, _)| *last >= id) {
            return Err(Fault::Order("sessions"));
        }
        if session.answers == 0 {
            index.sessions.insert((state.answer_expiry_ms(session.valid_until_ms), id));
        }
        state.sessions.insert(id, session);
        Ok(())
    }

    fn take_answer(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let (key, answer) = items::read_answer(reader).ok_or(Fault::Content("answer"))?;
        let Self { machine, tally, .. } = self;
        let Machine { state, index, .. } = machine.as_mut().ok_or(Fault::Kind(BlockKind::Items as u8))?;
        if !state.sessions.get(&key.0).is_some_and(|session| tally.take(key.0, session.answers)) {
            return Err(Fault::Content("answer"));
        }
        if state.answers.get_max().is_some_and(|(last, _)| *last >= key) {
            return Err(Fault::Order("answers"));
        }
        index.answers.insert((state.answer_expiry_ms(answer.valid_until_ms), key.0, key.1));
        index.answer_bytes += answer.bytes();
        state.answers.insert(key, Rc::new(answer));
        Ok(())
    }

    fn take_draw(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let (key, draw) = items::read_draw(reader).ok_or(Fault::Content("draw"))?;
        let Machine { state, index, .. } = self.parts()?;
        if state.draws.get_max().is_some_and(|(last, _)| *last >= key) {
            return Err(Fault::Order("draws"));
        }
        index.draws.insert((draw.expires_ms, key.clone()));
        state.draws.insert(key, draw);
        Ok(())
    }

    fn parts(&mut self) -> Result<&mut Machine, Fault> {
        self.machine.as_mut().ok_or(Fault::Kind(BlockKind::Items as u8))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kahuna_protocol::Hlc;

    use super::*;

    /// What becomes of versions with these revisions and stamps, in this order.
    fn take(versions: &[(u64, u64)]) -> Result<(), Fault> {
        let position = Position::from_encoded(Bytes::from_static(b"a position"));
        let mut restore = Restore { key: Some((position, None)), ..Restore::new() };
        versions.iter().try_for_each(|&(revision, stamp)| {
            let (stamp, commit_stamp) = (Hlc(stamp), Hlc(stamp));
            restore.take_version(Version { revision, value: None, stamp, commit_stamp, deadline_ms: None, gap: false })
        })
    }

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
            let taken = answers.iter().all(|id| tally.take(*id, stated(id)));
            assert_eq!(taken && tally.owed == 0, sound, "{sessions:?} {answers:?}");
        }
    }

    #[test]
    fn each_version_is_older_than_the_one_before_it_in_number_and_in_time() {
        assert!(take(&[(9, 90), (5, 50), (3, 30)]).is_ok());
        for next in [(5, 30), (3, 50), (6, 30), (3, 60), (6, 60)] {
            let taken = take(&[(9, 90), (5, 50), next]);
            assert!(matches!(taken, Err(Fault::Order("versions"))), "{next:?}: {taken:?}");
        }
        assert!(take(&[(5, 50), (5, 50)]).is_err());
    }
}
