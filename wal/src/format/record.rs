//! What a group writes into the log, and its bytes.

use bytes::Bytes;

use super::le;

/// Bytes of a record's header.
pub const RECORD_HEADER_BYTES: usize = 20;

/// Bytes of [`EntryMeta`].
pub const ENTRY_META_BYTES: usize = 16;

/// What stands beside an entry's payload: opaque to the log, wide enough for a term and a kind.
pub type EntryMeta = [u8; ENTRY_META_BYTES];

/// A group (one replica of a partition) within this log.
pub type GroupId = u32;

/// One record of a group. `Bytes` are opaque to the log, and written unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The entry at `index`; it supersedes every entry of the group at `index` and above. Its index is at most one above
    /// the group's last entry, and above its purge mark.
    Entry {
        /// Raft index, from 1.
        index: u64,
        /// What stands beside the payload, such as its term.
        meta: EntryMeta,
        /// Entry as Raft encodes it; the log never reads it.
        payload: Bytes,
    },
    /// A copy of the live entry at `index`, made so that an old segment can go: it stays what it is, and so do those above.
    /// Only the log itself appends these.
    Moved {
        /// Raft index of the original.
        index: u64,
        /// What stands beside the payload.
        meta: EntryMeta,
        /// Bytes of the original, unchanged.
        payload: Bytes,
    },
    /// The group's vote; replaces the earlier one.
    Vote(Bytes),
    /// What the group knows committed; replaces the earlier one.
    Committed(Bytes),
    /// Drops the entries at `from` and above.
    Truncate {
        /// The first index that goes.
        from: u64,
    },
    /// Drops the entries up to and including `upto`, and remembers the mark.
    Purge {
        /// The last index that goes.
        upto: u64,
        /// The log id of that entry, opaque.
        log_id: Bytes,
    },
    /// Where the group's newest durable snapshot is; replaces the earlier one.
    Snapshot(Bytes),
    /// The group lives here, with opaque facts such as its replica id; replaces the earlier facts, keeps everything else.
    GroupCreated(Bytes),
    /// The group is gone, with all its records.
    GroupDestroyed,
}

/// A record as it lies in a verified batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawRecord<'a> {
    pub kind: u8,
    pub group: GroupId,
    pub index: u64,
    pub body: &'a [u8],
}

pub(crate) mod kind {
    pub const ENTRY: u8 = 1;
    pub const VOTE: u8 = 2;
    pub const COMMITTED: u8 = 3;
    pub const TRUNCATE: u8 = 4;
    pub const PURGE: u8 = 5;
    pub const SNAPSHOT: u8 = 6;
    pub const GROUP_CREATED: u8 = 7;
    pub const GROUP_DESTROYED: u8 = 8;
    pub const MOVED: u8 = 9;

    /// The kind in words, for people.
    pub fn name(kind: u8) -> &'static str {
        match kind {
            ENTRY => "entry",
            VOTE => "vote",
            COMMITTED => "committed",
            TRUNCATE => "truncate",
            PURGE => "purge",
            SNAPSHOT => "snapshot",
            GROUP_CREATED => "group_created",
            GROUP_DESTROYED => "group_destroyed",
            MOVED => "moved",
            _ => "unknown",
        }
    }
}

impl Record {
    /// The record's length on disk, in bytes.
    pub fn encoded_bytes(&self) -> usize {
        let body = match self {
            Self::Entry { payload, .. } | Self::Moved { payload, .. } => ENTRY_META_BYTES + payload.len(),
            Self::Vote(bytes) | Self::Committed(bytes) | Self::Snapshot(bytes) | Self::GroupCreated(bytes) => {
                bytes.len()
            }
            Self::Purge { log_id, .. } => log_id.len(),
            Self::Truncate { .. } | Self::GroupDestroyed => 0,
        };
        RECORD_HEADER_BYTES + body
    }

    /// Writes the record over `room`, which is [`Record::encoded_bytes`] long and shorter than 4 GiB.
    pub(crate) fn encode(&self, group: GroupId, room: &mut [u8]) {
        let (kind, index, body): (u8, u64, &[u8]) = match self {
            Self::Entry { index, payload, .. } => (kind::ENTRY, *index, payload),
            Self::Moved { index, payload, .. } => (kind::MOVED, *index, payload),
            Self::Vote(vote) => (kind::VOTE, 0, vote),
            Self::Committed(committed) => (kind::COMMITTED, 0, committed),
            Self::Truncate { from } => (kind::TRUNCATE, *from, &[]),
            Self::Purge { upto, log_id } => (kind::PURGE, *upto, log_id),
            Self::Snapshot(pointer) => (kind::SNAPSHOT, 0, pointer),
            Self::GroupCreated(facts) => (kind::GROUP_CREATED, 0, facts),
            Self::GroupDestroyed => (kind::GROUP_DESTROYED, 0, &[]),
        };
        let (header, mut room) = room.split_at_mut(RECORD_HEADER_BYTES);
        let body_bytes = u32::try_from(room.len()).expect("a record is bounded");
        header[0..4].copy_from_slice(&[kind, 0, 0, 0]);
        header[4..8].copy_from_slice(&group.to_le_bytes());
        header[8..12].copy_from_slice(&body_bytes.to_le_bytes());
        header[12..20].copy_from_slice(&index.to_le_bytes());
        if let Self::Entry { meta, .. } | Self::Moved { meta, .. } = self {
            let (beside, rest) = room.split_at_mut(ENTRY_META_BYTES);
            beside.copy_from_slice(meta);
            room = rest;
        }
        room.copy_from_slice(body);
    }

    /// For tests: the record's bytes.
    #[cfg(test)]
    pub(crate) fn encoded(&self, group: GroupId) -> Vec<u8> {
        let mut bytes = vec![0xaa; self.encoded_bytes()];
        self.encode(group, &mut bytes);
        bytes
    }
}

impl<'a> RawRecord<'a> {
    /// Takes the first record off `bytes`, the records of a verified batch. `None` when they are no record.
    pub fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let header = bytes.get(..RECORD_HEADER_BYTES)?;
        let body_bytes = le!(u32, header, 8) as usize;
        let body = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES.checked_add(body_bytes)?)?;
        let record = Self { kind: header[0], group: le!(u32, header, 4), index: le!(u64, header, 12), body };
        if header[1..4] != [0; 3] || !record.is_canonical() {
            return None;
        }
        *bytes = &bytes[RECORD_HEADER_BYTES + body_bytes..];
        Some(record)
    }

    /// Whether [`Record::encode`] can have written it: what a kind has no use for is empty.
    fn is_canonical(&self) -> bool {
        match self.kind {
            kind::ENTRY | kind::MOVED => self.body.len() >= ENTRY_META_BYTES,
            kind::VOTE | kind::COMMITTED | kind::SNAPSHOT | kind::GROUP_CREATED => self.index == 0,
            kind::TRUNCATE => self.body.is_empty(),
            kind::PURGE => true,
            kind::GROUP_DESTROYED => self.index == 0 && self.body.is_empty(),
            _ => false,
        }
    }

    /// The meta and the payload of an entry or of a copy of one.
    pub fn entry(&self) -> (EntryMeta, &'a [u8]) {
        debug_assert!(matches!(self.kind, kind::ENTRY | kind::MOVED));
        let (meta, payload) = self.body.split_at(ENTRY_META_BYTES);
        (meta.try_into().expect("split at its length"), payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_name_and_no_other_number_has_one() {
        let names: Vec<&str> = (0..=10).map(kind::name).collect();
        let known = "entry vote committed truncate purge snapshot group_created group_destroyed moved";
        assert_eq!(names.join(" "), format!("unknown {known} unknown"));
    }

    #[test]
    fn golden_bytes_of_every_kind() {
        let bytes = Bytes::from_static(b"xy");
        let records = [
            (
                Record::Entry { index: 258, meta: [9; 16], payload: bytes.clone() },
                1,
                258u64,
                [&[9; 16][..], b"xy"].concat(),
            ),
            (Record::Vote(bytes.clone()), 2, 0, b"xy".to_vec()),
            (Record::Committed(bytes.clone()), 3, 0, b"xy".to_vec()),
            (Record::Truncate { from: 7 }, 4, 7, vec![]),
            (Record::Purge { upto: 6, log_id: bytes.clone() }, 5, 6, b"xy".to_vec()),
            (Record::Snapshot(bytes.clone()), 6, 0, b"xy".to_vec()),
            (Record::GroupCreated(bytes.clone()), 7, 0, b"xy".to_vec()),
            (Record::GroupDestroyed, 8, 0, vec![]),
            (Record::Moved { index: 258, meta: [9; 16], payload: bytes }, 9, 258, [&[9; 16][..], b"xy"].concat()),
        ];
        for (record, kind, index, body) in records {
            let written = record.encoded(0x0102_0304);
            let mut expected = vec![kind, 0, 0, 0, 4, 3, 2, 1];
            expected.extend_from_slice(&(body.len() as u32).to_le_bytes());
            expected.extend_from_slice(&index.to_le_bytes());
            expected.extend_from_slice(&body);
            assert_eq!(written, expected, "{record:?}");
            assert_eq!(written.len(), record.encoded_bytes());
            let mut rest = &written[..];
            let raw = RawRecord::take(&mut rest).expect("it was just written");
            assert_eq!((raw.kind, raw.group, raw.index, raw.body), (kind, 0x0102_0304, index, &body[..]));
            assert!(rest.is_empty());
            for cut in 0..written.len() {
                assert_eq!(RawRecord::take(&mut &written[..cut]), None, "cut at {cut}");
            }
            let altered = |at: usize, to: u8| {
                let mut bytes = written.clone();
                bytes[at] = to;
                RawRecord::take(&mut &bytes[..]).is_none()
            };
            assert!(altered(0, 0) && altered(0, u8::MAX) && altered(1, 1) && altered(3, 1));
            assert_eq!(altered(19, 1), ![1, 4, 5, 9].contains(&kind), "an index where the kind has none");
            if body.is_empty() {
                let long = [&written[..8], &[1, 0, 0, 0], &written[12..], &[7]].concat();
                assert_eq!(RawRecord::take(&mut &long[..]), None, "a body where the kind has none");
            }
        }
    }
}
