//! Items: one session, answer, key, version, lock, sequence or draw each, told apart by a tag.

use bytes::Bytes;
use kahuna_protocol::{Hlc, Outcome, Position};

use super::bytes::{Reader, Writer};
use crate::state::{Answer, Draw, DrawKey, Lock, Sequence, Session, Version};

pub const TAG_SESSION: u8 = 1;
pub const TAG_ANSWER: u8 = 2;
/// A key's position; its versions follow as items of their own, newest first.
pub const TAG_KEY: u8 = 3;
pub const TAG_VERSION: u8 = 4;
pub const TAG_LOCK: u8 = 5;
pub const TAG_SEQUENCE: u8 = 6;
pub const TAG_DRAW: u8 = 7;

/// Version flag: it has a value; without one it is a tombstone.
const HAS_VALUE: u8 = 1;
/// Flag of a version, a lock's release and a sequence's bound: the field is there.
const HAS_TIME: u8 = 2;
/// Version flag: versions before it were dropped.
const GAP: u8 = 4;

pub fn write_session(id: u64, session: &Session, writer: &mut Writer) {
    writer.u8(TAG_SESSION);
    writer.u64(id);
    writer.u64(session.acknowledged);
    writer.u64(session.answers);
    writer.u64(session.valid_until_ms);
}

pub fn read_session(reader: &mut Reader<'_>) -> Option<(u64, Session)> {
    let id = reader.u64()?;
    let (acknowledged, answers, valid_until_ms) = (reader.u64()?, reader.u64()?, reader.u64()?);
    Some((id, Session { acknowledged, answers, valid_until_ms }))
}

pub fn write_answer((session, number): (u64, u64), answer: &Answer, writer: &mut Writer) {
    writer.u8(TAG_ANSWER);
    writer.u64(session);
    writer.u64(number);
    writer.u64(answer.digest);
    writer.u64(answer.valid_until_ms);
    writer.u16(answer.outcome.kind());
    writer.counted(|out| answer.outcome.encode_body(out));
}

pub fn read_answer(reader: &mut Reader<'_>) -> Option<((u64, u64), Answer)> {
    let key = (reader.u64()?, reader.u64()?);
    let (digest, valid_until_ms) = (reader.u64()?, reader.u64()?);
    let kind = reader.u16()?;
    let outcome = Outcome::decode(kind, reader.bytes()?).ok()?;
    Some((key, Answer { digest, valid_until_ms, outcome }))
}

pub fn write_key(position: &Position, writer: &mut Writer) {
    writer.u8(TAG_KEY);
    writer.bytes(position.encoded());
}

pub fn read_position(reader: &mut Reader<'_>) -> Option<Position> {
    reader.bytes().map(Bytes::copy_from_slice).map(Position::from_encoded)
}

pub fn write_version(version: &Version, writer: &mut Writer) {
    writer.u8(TAG_VERSION);
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    writer.u8(flag(version.value.is_some(), HAS_VALUE)
        | flag(version.deadline_ms.is_some(), HAS_TIME)
        | flag(version.gap, GAP));
    writer.u64(version.revision);
    writer.u64(version.stamp.0);
    writer.u64(version.commit_stamp.0);
    if let Some(deadline_ms) = version.deadline_ms {
        writer.u64(deadline_ms);
    }
    if let Some(value) = &version.value {
        writer.bytes(value);
    }
}

pub fn read_version(reader: &mut Reader<'_>) -> Option<Version> {
    let flags = reader.u8().filter(|flags| flags & !(HAS_VALUE | HAS_TIME | GAP) == 0)?;
    let (revision, stamp, commit_stamp) = (reader.u64()?, Hlc(reader.u64()?), Hlc(reader.u64()?));
    let deadline_ms = if flags & HAS_TIME == 0 { None } else { Some(reader.u64()?) };
    // Copied, so that a small value does not pin the block it came in.
    let value = if flags & HAS_VALUE == 0 { None } else { Some(Bytes::copy_from_slice(reader.bytes()?)) };
    Some(Version { revision, value, stamp, commit_stamp, deadline_ms, gap: flags & GAP != 0 })
}

pub fn write_lock(position: &Position, lock: &Lock, writer: &mut Writer) {
    writer.u8(TAG_LOCK);
    writer.bytes(position.encoded());
    writer.u8(if lock.released_ms.is_some() { HAS_TIME } else { 0 });
    writer.u64(lock.token);
    writer.u64(lock.deadline_ms);
    if let Some(released_ms) = lock.released_ms {
        writer.u64(released_ms);
    }
    writer.bytes(&lock.owner);
}

pub fn read_lock(reader: &mut Reader<'_>) -> Option<(Position, Lock)> {
    let position = read_position(reader)?;
    let flags = reader.u8().filter(|flags| flags & !HAS_TIME == 0)?;
    let (token, deadline_ms) = (reader.u64()?, reader.u64()?);
    let released_ms = if flags & HAS_TIME == 0 { None } else { Some(reader.u64()?) };
    let owner = Bytes::copy_from_slice(reader.bytes()?);
    Some((position, Lock { token, owner, deadline_ms, released_ms }))
}

pub fn write_sequence(position: &Position, sequence: &Sequence, writer: &mut Writer) {
    writer.u8(TAG_SEQUENCE);
    writer.bytes(position.encoded());
    writer.u8(if sequence.max.is_some() { HAS_TIME } else { 0 });
    writer.u64(sequence.incarnation);
    writer.i64(sequence.value);
    writer.i64(sequence.increment);
    if let Some(max) = sequence.max {
        writer.i64(max);
    }
}

pub fn read_sequence(reader: &mut Reader<'_>) -> Option<(Position, Sequence)> {
    let position = read_position(reader)?;
    let flags = reader.u8().filter(|flags| flags & !HAS_TIME == 0)?;
    let incarnation = reader.u64()?;
    let value = reader.i64()?;
    let increment = reader.i64().filter(|&increment| increment != 0)?;
    let max = if flags & HAS_TIME == 0 { None } else { Some(reader.i64()?) };
    Some((position, Sequence { incarnation, value, increment, max }))
}

pub fn write_draw((position, key): &DrawKey, draw: &Draw, writer: &mut Writer) {
    writer.u8(TAG_DRAW);
    writer.bytes(position.encoded());
    writer.bytes(key);
    writer.u64(draw.incarnation);
    writer.i64(draw.start);
    writer.i64(draw.end);
    writer.u64(draw.count);
    writer.u64(draw.expires_ms);
}

pub fn read_draw(reader: &mut Reader<'_>) -> Option<(DrawKey, Draw)> {
    let position = read_position(reader)?;
    let key = Bytes::copy_from_slice(reader.bytes()?);
    let incarnation = reader.u64()?;
    let (start, end) = (reader.i64()?, reader.i64()?);
    let (count, expires_ms) = (reader.u64()?, reader.u64()?);
    Some(((position, key), Draw { incarnation, start, end, count, expires_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position() -> Position {
        Position::from_encoded(Bytes::from_static(b"a position"))
    }

    /// What `read` makes of what was written, behind the tag; all of it must be read.
    fn again<T>(writer: Writer, read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Option<T> {
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes[1..]);
        let item = read(&mut reader);
        assert!(reader.is_empty(), "nothing is left over");
        item
    }

    #[test]
    fn versions_come_back_with_and_without_each_field_that_may_be_missing() {
        for bits in 0..8u8 {
            let [value, deadline, gap] = [1, 2, 4].map(|bit| bits & bit != 0);
            let version = Version {
                revision: 3,
                value: value.then(|| Bytes::from_static(b"value")),
                stamp: Hlc(4),
                commit_stamp: Hlc(5),
                deadline_ms: deadline.then_some(6),
                gap,
            };
            let mut writer = Writer::default();
            write_version(&version, &mut writer);
            assert_eq!(again(writer, read_version), Some(version));
        }
    }

    #[test]
    fn locks_and_sequences_come_back_with_and_without_their_bound() {
        for bound in [None, Some(9)] {
            let lock = Lock { token: 1, owner: Bytes::from_static(b"owner"), deadline_ms: 2, released_ms: bound };
            let mut writer = Writer::default();
            write_lock(&position(), &lock, &mut writer);
            let (at, read) = again(writer, read_lock).expect("it was just written");
            assert_eq!((at, format!("{read:?}")), (position(), format!("{lock:?}")));
            let max = bound.map(|bound| -(bound as i64));
            let sequence = Sequence { incarnation: 1, value: -2, increment: -3, max };
            let mut writer = Writer::default();
            write_sequence(&position(), &sequence, &mut writer);
            let (at, read) = again(writer, read_sequence).expect("it was just written");
            assert_eq!((at, format!("{read:?}")), (position(), format!("{sequence:?}")));
        }
    }
}
