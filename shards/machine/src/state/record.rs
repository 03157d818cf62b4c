//! The records: keys, locks and sequences, by their positions.

use std::collections::BTreeSet;
use std::rc::Rc;

use kahuna_protocol::{Kind, Position};

use super::record_kind::{RecordKind, read_position};
use super::table::{BadItem, Items, Restoring, SharedMap, Table, behind, put_last};
use super::version::{self, Version};
use super::{Floors, Key, Lock, Sequence, State};
use crate::codec::{Reader, Writer};

/// A kind of record that is in [`Record`].
pub trait InRecord: RecordKind {
    /// As one of all kinds.
    fn into_record(self) -> Record;
    /// The record if it is of this kind.
    fn of(record: &Record) -> Option<&Self>;
    /// The same, to be changed; a copy if a snapshot has it too.
    fn of_mut(record: &mut Record) -> Option<&mut Self>;
}

/// All kinds of records, and how the state is asked for one.
macro_rules! records {
    ($( $(#[$meta:meta])* $Kind:ident $get:ident; )+) => {
        /// Record of any kind, behind a pointer that snapshots share.
        #[derive(Clone, Debug)]
        pub enum Record { $( $(#[$meta])* $Kind(Rc<$Kind>), )+ }

        impl Record {
            /// See [`RecordKind::end_ms`].
            pub fn end_ms(&self, skew_ms: u64) -> Option<u64> {
                match self { $( Self::$Kind(record) => record.end_ms(skew_ms), )+ }
            }

            /// See [`RecordKind::raise_floor`].
            pub fn raise_floor(&self, floors: &mut Floors, restore_epoch: u16) {
                match self { $( Self::$Kind(record) => record.raise_floor(floors, restore_epoch), )+ }
            }

            fn kind(&self) -> Kind {
                match self { $( Self::$Kind(_) => $Kind::KIND, )+ }
            }

            fn write(&self, position: &Position, writer: &mut Writer) {
                match self { $( Self::$Kind(record) => {
                    writer.u8($Kind::TAG);
                    writer.bytes(position.encoded());
                    record.write(writer);
                } )+ }
            }

            fn read(tag: u8, reader: &mut Reader<'_>) -> Option<Self> {
                match tag {
                    $( $Kind::TAG => $Kind::read(reader).map(|record| Self::$Kind(Rc::new(record))), )+
                    _ => None,
                }
            }
        }

        $( impl InRecord for $Kind {
            fn into_record(self) -> Record {
                Record::$Kind(Rc::new(self))
            }

            fn of(record: &Record) -> Option<&Self> {
                if let Record::$Kind(record) = record { Some(record) } else { None }
            }

            fn of_mut(record: &mut Record) -> Option<&mut Self> {
                if let Record::$Kind(record) = record { Some(Rc::make_mut(record)) } else { None }
            }
        } )+

        impl State { $(
            #[doc = concat!("The ", stringify!($get), " at `position`, dead or alive.")]
            pub fn $get(&self, position: &Position) -> Option<&$Kind> {
                self.rows.records.get(position).and_then($Kind::of)
            }
        )+ }
    };
}

records! {
    /// A key with its versions.
    Key key;
    /// Holder and token of a lock.
    Lock lock;
    /// Last value and step of a sequence.
    Sequence sequence;
}

/// Records by position. Due is each that has an end, at its end in Unix milliseconds.
pub struct Records;

/// The record behind which a snapshot continues, or the record's version with which it does, counted from the newest.
#[derive(Clone, Debug)]
pub struct RecordPlace {
    position: Position,
    version: Option<usize>,
}

/// The key whose versions are coming, without those that have come.
#[derive(Debug, Default)]
pub struct OpenKey(Option<(Position, Option<Key>)>);

/// Moves what is due of a record from one end to another.
pub fn move_end(due: &mut BTreeSet<(u64, Position)>, position: &Position, from: Option<u64>, to: Option<u64>) {
    if from == to {
        return;
    }
    if let Some(end) = from {
        due.remove(&(end, position.clone()));
    }
    if let Some(end) = to {
        due.insert((end, position.clone()));
    }
}

impl Table for Records {
    type Key = Position;
    type Row = Record;
    type Due = BTreeSet<(u64, Position)>;
    type Place = RecordPlace;
    type Making = OpenKey;

    fn write(
        rows: &SharedMap<Position, Record>,
        place: Option<&RecordPlace>,
        block: &mut Items<'_>,
    ) -> Option<RecordPlace> {
        if let Some(RecordPlace { position, version: Some(version) }) = place
            && let Some(version) =
                rows.get(position).and_then(Key::of).and_then(|key| write_versions(key, *version, block))
        {
            return Some(RecordPlace { position: position.clone(), version: Some(version) });
        }
        for (position, record) in behind(rows, place.map(|place| &place.position)) {
            block.put(|writer| record.write(position, writer));
            if let Record::Key(key) = record
                && let Some(version) = write_versions(key, 0, block)
            {
                return Some(RecordPlace { position: position.clone(), version: Some(version) });
            }
            if block.is_full() {
                return Some(RecordPlace { position: position.clone(), version: None });
            }
        }
        None
    }

    fn read(tag: u8, reader: &mut Reader<'_>, to: &mut Restoring<'_>) -> Result<(), BadItem> {
        if tag == version::TAG {
            let version = Version::read(reader).ok_or(BadItem::Content("version"))?;
            return to.making.records.take(version);
        }
        let wrong = BadItem::Content(if tag == Key::TAG { "key" } else { "record" });
        let position = read_position(reader).ok_or(wrong)?;
        if tag == Key::TAG {
            to.making.records.0 = Some((position, None));
            return Ok(());
        }
        let record = Record::read(tag, reader).ok_or(wrong)?;
        put(to, position, record)
    }

    fn finish(open: &OpenKey) -> Result<(), BadItem> {
        if open.0.is_none() { Ok(()) } else { Err(BadItem::Content("key")) }
    }

    fn free_due(due: &mut Self::Due) -> bool {
        due.pop_first().is_some()
    }
}

/// Writes a key's versions from the one at `from`, counted from the newest; the next one if some are left.
fn write_versions(key: &Key, from: usize, block: &mut Items<'_>) -> Option<usize> {
    for next in from..key.len() {
        if block.is_full() {
            return Some(next);
        }
        if let Some(version) = key.version(next) {
            block.put(|writer| version.write(writer));
        }
    }
    None
}

impl OpenKey {
    fn take(&mut self, version: Version) -> Result<(), BadItem> {
        match &mut self.0 {
            None => Err(BadItem::Content("version")),
            Some((_, key @ None)) => {
                *key = Some(Key::new(version));
                Ok(())
            }
            Some((_, Some(key))) => {
                let last = key.version(key.len() - 1).unwrap_or(key.newest());
                if last.revision <= version.revision || last.commit_stamp <= version.commit_stamp {
                    return Err(BadItem::Order("versions"));
                }
                key.push_oldest(version);
                Ok(())
            }
        }
    }
}

/// Whether the versions of a key that is open are all there when an item with this tag comes.
pub fn ends_key(tag: u8) -> bool {
    tag != version::TAG
}

/// The versions of the key that is open, if one is, are all there.
///
/// # Errors
/// [`BadItem`].
pub fn close_key(to: &mut Restoring<'_>) -> Result<(), BadItem> {
    match to.making.records.0.take() {
        None => Ok(()),
        Some((_, None)) => Err(BadItem::Content("key")),
        Some((position, Some(key))) => put(to, position, key.into_record()),
    }
}

fn put(to: &mut Restoring<'_>, position: Position, record: Record) -> Result<(), BadItem> {
    let kind = position.name_and_kind().map(|(_, kind)| kind);
    if kind != Some(record.kind()) || !to.state.range.contains(&position) {
        return Err(BadItem::Content("position"));
    }
    let end = record.end_ms(to.state.skew_ms());
    put_last(&mut to.state.rows.records, position.clone(), record, "records")?;
    move_end(&mut to.index.records, &position, None, end);
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kahuna_protocol::Hlc;

    use super::*;

    #[test]
    fn locks_and_sequences_come_back_with_and_without_their_bound() {
        let again = |record: &Record, tag: u8| {
            let mut writer = Writer::default();
            record.write(&Position::from_encoded(Bytes::from_static(b"a position")), &mut writer);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes[1..]);
            assert_eq!(read_position(&mut reader).expect("written").encoded()[..], b"a position"[..]);
            let read = Record::read(tag, &mut reader);
            assert!(reader.is_empty(), "nothing is left over");
            format!("{:?}", read.expect("it was just written"))
        };
        for bound in [None, Some(9)] {
            let lock = Lock { token: 1, owner: Bytes::from_static(b"owner"), deadline_ms: 2, released_ms: bound };
            let max = bound.map(|bound| -(bound as i64));
            let sequence = Sequence { incarnation: 1, value: -2, increment: -3, max };
            let (lock, sequence) = (lock.into_record(), sequence.into_record());
            assert_eq!(again(&lock, Lock::TAG), format!("{lock:?}"));
            assert_eq!(again(&sequence, Sequence::TAG), format!("{sequence:?}"));
        }
    }

    #[test]
    fn each_version_is_older_than_the_one_before_it_in_number_and_in_time() {
        let take = |versions: &[(u64, u64)]| {
            let mut key = OpenKey(Some((Position::from_encoded(Bytes::from_static(b"a position")), None)));
            versions.iter().try_for_each(|&(revision, stamp)| {
                let (stamp, commit_stamp) = (Hlc(stamp), Hlc(stamp));
                key.take(Version { revision, value: None, stamp, commit_stamp, deadline_ms: None, gap: false })
            })
        };
        assert!(take(&[(9, 90), (5, 50), (3, 30)]).is_ok());
        for next in [(5, 30), (3, 50), (6, 30), (3, 60), (6, 60)] {
            let taken = take(&[(9, 90), (5, 50), next]);
            assert!(matches!(taken, Err(BadItem::Order("versions"))), "{next:?}: {taken:?}");
        }
        assert!(take(&[(5, 50), (5, 50)]).is_err());
    }
}
