//! How Raft's own small values are written, on disk and on the wire alike (a format). All integers little endian.
//!
//! ```text
//! vote         0 8 term    8 8 replica   16 1 committed (0 or 1)                              17 bytes
//! log id       0 1 present (0 or 1)       1 8 term       9 8 index  (zeros if absent)          17 bytes
//! entry meta   0 8 term    8 1 kind      9 7 zeros                                             16 bytes
//!              kind: 0 blank (no payload), 1 a batch of commands, 2 a membership
//! membership   0 1 format (1)  1 1 configurations  2 2 members
//!              then per member 8 replica, 8 incarnation; per configuration 2 count, then 8 replica each
//! ```
//! Terms and indices are below 2^63. A joint membership has two configurations, any other one. Members that are in no
//! configuration are learners.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kahuna_protocol::Incarnation;
use kahuna_protocol::batch::Batch;
use kahuna_wal::EntryMeta;
use openraft::EntryPayload;

use super::types::{Entry, LogId, Member, Membership, Payload, Proposal, Vote, log_id};

/// Bytes that are not what they should be, and what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0}")]
pub struct Malformed(pub &'static str);

/// The encoded length of a vote.
pub const VOTE_BYTES: usize = 17;
/// The encoded length of an optional log id.
pub const LOG_ID_BYTES: usize = 17;

/// The highest term, and the highest index, that is read: openraft adds one without a look. At a million a second it lasts
/// for 290,000 years.
pub const MOST: u64 = u64::MAX >> 1;

const BLANK: u8 = 0;
const BATCH: u8 = 1;
const MEMBERSHIP: u8 = 2;
const MEMBERSHIP_FORMAT: u8 = 1;

/// Takes fixed-width values off the front of bytes.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which should be a `what`.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// The error for a value that is out of range.
    pub fn malformed(&self) -> Malformed {
        Malformed(self.what)
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Malformed(self.what))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        Ok(self.take(N)?.try_into().expect("taken at this length"))
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A byte that is 0 or 1.
    pub fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed()),
        }
    }

    /// A term or an index.
    pub fn count(&mut self) -> Result<u64, Malformed> {
        let count = self.u64()?;
        if count <= MOST { Ok(count) } else { Err(self.malformed()) }
    }

    /// Reads a vote: term, replica, and whether it is committed.
    pub fn vote(&mut self) -> Result<Vote, Malformed> {
        let (term, replica) = (self.count()?, self.u64()?);
        Ok(if self.flag()? { Vote::new_committed(term, replica) } else { Vote::new(term, replica) })
    }

    /// A log id, or none.
    pub fn log_id(&mut self) -> Result<Option<LogId>, Malformed> {
        let present = self.flag()?;
        let (term, index) = (self.count()?, self.count()?);
        Ok(present.then(|| log_id(term, index)))
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed(self.what)) }
    }
}

/// Appends a vote.
pub fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    out.extend_from_slice(&vote.leader_id.term.to_le_bytes());
    out.extend_from_slice(&vote.leader_id.voted_for.to_le_bytes());
    out.push(u8::from(vote.committed));
}

/// Appends a log id, or that there is none.
pub fn put_log_id(out: &mut Vec<u8>, id: Option<&LogId>) {
    let (term, index) = id.map_or((0, 0), |id| (id.leader_id.term, id.index));
    out.push(u8::from(id.is_some()));
    out.extend_from_slice(&term.to_le_bytes());
    out.extend_from_slice(&index.to_le_bytes());
}

/// Appends a membership.
pub fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    let count = |count: usize| u16::try_from(count).expect("a group has few members");
    let configurations = membership.get_joint_config();
    out.push(MEMBERSHIP_FORMAT);
    out.push(u8::try_from(configurations.len()).expect("a membership has at most two configurations"));
    out.extend_from_slice(&count(membership.nodes().count()).to_le_bytes());
    for (replica, member) in membership.nodes() {
        out.extend_from_slice(&replica.to_le_bytes());
        out.extend_from_slice(&member.incarnation.0.to_le_bytes());
    }
    for configuration in configurations {
        out.extend_from_slice(&count(configuration.len()).to_le_bytes());
        for replica in configuration {
            out.extend_from_slice(&replica.to_le_bytes());
        }
    }
}

/// Reads a membership, all of `bytes`.
pub fn membership(bytes: &[u8]) -> Result<Membership, Malformed> {
    let mut reader = Reader::new(bytes, "membership");
    if reader.u8()? != MEMBERSHIP_FORMAT {
        return Err(reader.malformed());
    }
    let configurations = reader.u8()?;
    let members = reader.u16()?;
    let mut nodes = BTreeMap::new();
    for _ in 0..members {
        let replica = reader.u64()?;
        nodes.insert(replica, Member { incarnation: Incarnation(reader.u64()?) });
    }
    let mut configs = Vec::new();
    for _ in 0..configurations {
        let count = reader.u16()?;
        let config = (0..count).map(|_| reader.u64()).collect::<Result<BTreeSet<_>, _>>()?;
        configs.push(config);
    }
    reader.end()?;
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|_| Malformed("membership"))
}

/// A vote as bytes of their own.
pub fn vote_bytes(vote: &Vote) -> Bytes {
    let mut out = Vec::with_capacity(VOTE_BYTES);
    put_vote(&mut out, vote);
    out.into()
}

/// A log id as bytes of their own.
pub fn log_id_bytes(id: Option<&LogId>) -> Bytes {
    let mut out = Vec::with_capacity(LOG_ID_BYTES);
    put_log_id(&mut out, id);
    out.into()
}

/// The kind byte of an entry.
pub fn entry_kind(payload: &Payload) -> u8 {
    match payload {
        EntryPayload::Blank => BLANK,
        EntryPayload::Normal(_) => BATCH,
        EntryPayload::Membership(_) => MEMBERSHIP,
    }
}

/// An entry's payload as it is stored and sent. A batch is its own buffer, not a copy.
pub fn entry_payload(payload: &Payload) -> Bytes {
    match payload {
        EntryPayload::Blank => Bytes::new(),
        EntryPayload::Normal(Proposal(batch)) => batch.bytes().clone(),
        EntryPayload::Membership(membership) => {
            let mut out = Vec::new();
            put_membership(&mut out, membership);
            out.into()
        }
    }
}

/// What stands beside an entry's payload in the log.
pub fn entry_meta(entry: &Entry) -> EntryMeta {
    let mut meta = EntryMeta::default();
    meta[..8].copy_from_slice(&entry.log_id.leader_id.term.to_le_bytes());
    meta[8] = entry_kind(&entry.payload);
    meta
}

/// The entry of `term`, `index` and `kind`. A batch is checked when it is applied.
pub fn entry(term: u64, index: u64, kind: u8, payload: Bytes) -> Result<Entry, Malformed> {
    let payload = match kind {
        BLANK if payload.is_empty() => EntryPayload::Blank,
        BATCH => EntryPayload::Normal(Proposal(Batch::from_bytes(payload))),
        MEMBERSHIP => EntryPayload::Membership(membership(&payload)?),
        _ => return Err(Malformed("entry")),
    };
    Ok(Entry { log_id: log_id(term, index), payload })
}

/// The entry that the log holds at `index`.
pub fn stored_entry(index: u64, meta: &EntryMeta, payload: Bytes) -> Result<Entry, Malformed> {
    let mut reader = Reader::new(meta, "entry");
    let (term, kind) = (reader.count()?, reader.u8()?);
    if index > MOST || reader.take(7)? != [0; 7] {
        return Err(reader.malformed());
    }
    entry(term, index, kind, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joint() -> Membership {
        let nodes = (1..=4).map(|id| (id, Member { incarnation: Incarnation(id << 40) })).collect::<BTreeMap<_, _>>();
        Membership::new(vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3])], nodes).expect("all are known")
    }

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        put_vote(&mut out, &Vote::new_committed(3, 258));
        put_log_id(&mut out, Some(&log_id(5, 6)));
        put_log_id(&mut out, None);
        let mut expected = vec![3, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 1];
        expected.extend([1, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0; 17]);
        assert_eq!(out, expected);
        let one =
            Membership::new(vec![BTreeSet::from([7])], BTreeMap::from([(7, Member { incarnation: Incarnation(9) })]));
        let mut out = Vec::new();
        put_membership(&mut out, &one.expect("it is known"));
        assert_eq!(out, [1, 1, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn entries_come_back_and_cut_ones_do_not() {
        let batch = Batch::from_bytes(Bytes::from_static(b"commands"));
        for payload in [Payload::Blank, Payload::Normal(Proposal(batch)), Payload::Membership(joint())] {
            let entry = Entry { log_id: log_id(2, 77), payload };
            let bytes = entry_payload(&entry.payload);
            let meta = entry_meta(&entry);
            assert_eq!(stored_entry(77, &meta, bytes.clone()), Ok(entry.clone()));
            if matches!(entry.payload, Payload::Membership(_)) {
                for cut in 0..bytes.len() {
                    assert!(stored_entry(77, &meta, bytes.slice(..cut)).is_err(), "cut at {cut}");
                }
            }
            assert!(stored_entry(MOST + 1, &meta, bytes.clone()).is_err());
            let mut unknown = meta;
            unknown[8] = 9;
            assert!(stored_entry(77, &unknown, bytes.clone()).is_err());
            let mut late = meta;
            late[7] = 0x80;
            assert!(stored_entry(77, &late, bytes).is_err());
        }
    }

    #[test]
    fn a_voter_must_be_a_member() {
        let mut out = Vec::new();
        put_membership(&mut out, &joint());
        out[4..12].copy_from_slice(&99u64.to_le_bytes());
        assert_eq!(membership(&out), Err(Malformed("membership")));
    }
}
