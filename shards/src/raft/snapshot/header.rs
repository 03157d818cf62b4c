//! What stands before the blocks, and what points at the file.

use bytes::Bytes;
use kahuna_protocol::GroupId;

use super::super::encoding::{self, LOG_ID_BYTES, Malformed, Reader, put_log_id, put_membership};
use super::super::types::{LogId, SnapshotMeta, StoredMembership, log_id};

const MAGIC: [u8; 4] = *b"KSNP";
/// The format this software writes, and the newest it reads.
pub const FORMAT: u16 = 1;
const POINTER_FORMAT: u8 = 1;
const CRC_BYTES: usize = 4;
/// Up to the membership.
const FIXED_BYTES: usize = 32 + LOG_ID_BYTES;
/// Length of the part that holds the header's length, in bytes.
pub const PROBE_BYTES: usize = 16;
/// No membership is longer.
const MAX_BYTES: usize = 1 << 20;

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Group that the state belongs to.
    pub group: GroupId,
    /// The last entry in it.
    pub last: LogId,
    /// The last membership in it.
    pub membership: StoredMembership,
}

impl Header {
    /// In openraft's form.
    pub fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: Some(self.last), last_membership: self.membership.clone() }
    }

    /// Bytes at the start of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.group.0.to_le_bytes());
        out.extend_from_slice(&self.last.leader_id.term.to_le_bytes());
        out.extend_from_slice(&self.last.index.to_le_bytes());
        put_log_id(&mut out, self.membership.log_id().as_ref());
        put_membership(&mut out, self.membership.membership());
        let length = u32::try_from(out.len() + CRC_BYTES).expect("a membership is short");
        out[8..12].copy_from_slice(&length.to_le_bytes());
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// The length of the header that starts with these 16 bytes.
    pub fn length(probe: &[u8]) -> Result<usize, Malformed> {
        let mut reader = Reader::new(probe, "snapshot header");
        let (magic, format) = (reader.take(4)?, reader.u16()?);
        let (zeros, length) = (reader.u16()?, reader.u32()? as usize);
        if magic != MAGIC || format == 0 || zeros != 0 || !(FIXED_BYTES + CRC_BYTES..=MAX_BYTES).contains(&length) {
            return Err(reader.malformed());
        }
        Ok(length)
    }

    /// The format of a header that is whole but newer than this software: all formats have magic, format and length at
    /// the front and the CRC at the end.
    pub fn newer(bytes: &[u8]) -> Option<u16> {
        let format = u16::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
        (format > FORMAT && checked(bytes).is_some()).then_some(format)
    }

    /// Reads a header, all of `bytes`.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, "snapshot header");
        if Self::length(bytes)? != bytes.len() {
            return Err(reader.malformed());
        }
        let head = checked(bytes).ok_or(reader.malformed())?;
        reader.take(4)?;
        if reader.u16()? != FORMAT {
            return Err(reader.malformed());
        }
        reader.take(6)?;
        let group = GroupId(reader.u32()?);
        let (term, index) = (reader.count()?, reader.count()?);
        let membership_id = reader.log_id()?;
        let membership = encoding::membership(&head[FIXED_BYTES..])?;
        Ok(Self { group, last: log_id(term, index), membership: StoredMembership::new(membership_id, membership) })
    }
}

/// The header before its CRC, if that is right.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (head, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
    (crc32fast::hash(head).to_le_bytes() == *crc).then_some(head)
}

/// What the log remembers of the newest snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The last entry in it.
    pub last: LogId,
    /// The length of the whole file in bytes.
    pub file_bytes: u64,
}

impl Pointer {
    /// Bytes of the log record that points to the snapshot.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![POINTER_FORMAT, 0, 0, 0, 0, 0, 0, 0];
        out.extend_from_slice(&self.last.leader_id.term.to_le_bytes());
        out.extend_from_slice(&self.last.index.to_le_bytes());
        out.extend_from_slice(&self.file_bytes.to_le_bytes());
        out.into()
    }

    /// Reads a pointer, all of `bytes`.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, "snapshot pointer");
        if reader.take(8)? != [POINTER_FORMAT, 0, 0, 0, 0, 0, 0, 0] {
            return Err(reader.malformed());
        }
        let (term, index, file_bytes) = (reader.count()?, reader.count()?, reader.u64()?);
        reader.end()?;
        Ok(Self { last: log_id(term, index), file_bytes })
    }
}

/// The name of the snapshot that ends with `last`.
pub fn file_name(last: &LogId) -> String {
    format!("{}-{}.snap", last.index, last.leader_id.term)
}

/// Whether files that this software makes in a directory of snapshots have such names, finished or not: `<index>-<term>.snap`
/// or `.tmp`, or `<index>-<term>-<transfer, 16 hexadecimal digits>.tmp`. A file of another name is not this software's.
pub fn is_own_name(name: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_transfer = |part: &str| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let Some((stem, end)) = name.rsplit_once('.') else { return false };
    match (stem.split('-').collect::<Vec<_>>().as_slice(), end) {
        ([index, term], "snap" | "tmp") => is_number(index) && is_number(term),
        ([index, term, transfer], "tmp") => is_number(index) && is_number(term) && is_transfer(transfer),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use kahuna_protocol::Incarnation;

    use super::super::super::types::{Member, Membership};
    use super::*;

    fn header() -> Header {
        let member = Member { incarnation: Incarnation(77) };
        let membership = Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, member)]));
        let membership = StoredMembership::new(Some(log_id(1, 0)), membership.expect("it is known"));
        Header { group: GroupId(5), last: log_id(3, 900), membership }
    }

    #[test]
    fn headers_and_pointers_come_back() {
        let bytes = header().encode();
        assert_eq!(Header::length(&bytes[..PROBE_BYTES]), Ok(bytes.len()));
        assert_eq!(Header::read(&bytes), Ok(header()));
        let pointer = Pointer { last: log_id(3, 900), file_bytes: 12_345 };
        assert_eq!(Pointer::read(&pointer.encode()), Ok(pointer));
        assert_eq!(file_name(&pointer.last), "900-3.snap");
        for last in [log_id(3, u64::MAX), log_id(u64::MAX, 3)] {
            assert!(Pointer::read(&Pointer { last, ..pointer }.encode()).is_err());
        }
    }

    #[test]
    fn files_of_other_names_are_not_ours() {
        for (name, ours) in [
            ("900-3.snap", true),
            ("900-3.tmp", true),
            ("900-3-00000000000000ff.tmp", true),
            ("900-3-00000000000000ff.snap", false),
            ("900-3-ff.tmp", false),
            ("900-3.snap.damaged", false),
            ("before-the-upgrade.snap", false),
            ("-.snap", false),
            ("notes.tmp", false),
            ("snap", false),
        ] {
            assert_eq!(is_own_name(name), ours, "{name}");
        }
    }

    #[test]
    fn an_altered_header_is_refused() {
        let bytes = header().encode();
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 0x10;
            assert!(Header::read(&altered).is_err(), "byte {at}");
            assert_eq!(Header::newer(&altered), None, "byte {at}");
            assert!(Header::read(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_newer_header_is_told_from_a_damaged_one() {
        let mut bytes = header().encode();
        let end = bytes.len() - CRC_BYTES;
        bytes[4] = 9;
        assert_eq!(Header::newer(&bytes), None);
        let crc = crc32fast::hash(&bytes[..end]).to_le_bytes();
        bytes[end..].copy_from_slice(&crc);
        assert_eq!(Header::newer(&bytes), Some(9));
        assert!(Header::read(&bytes).is_err());
    }
}
