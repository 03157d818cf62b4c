//! Looking into segments without opening the log: for a person with a damaged disk, and for tools.
//!
//! Pure and tolerant: the owner is taken from the segment itself, every block is looked at, and damage ends nothing. The
//! whole log is judged by [`scan`](crate::recovery::scan).

use crate::Position;
pub use crate::format::batch::BatchHeader;
use crate::format::record::RawRecord;
pub use crate::format::segment::{SegmentHeader, SegmentHeaderError};
use crate::format::{BLOCK_BYTES, record};
pub use crate::log::{segment_of, segment_path};
use crate::recovery::header_at;
use crate::{GroupId, recovery};

/// A segment whose header verifies.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// What its header says.
    pub header: SegmentHeader,
    bytes: &'a [u8],
}

/// What stands in a segment, block by block. Blocks of zeros are left out.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// A batch that verifies.
    Batch {
        /// Where it begins, in bytes.
        offset: u64,
        /// Verified header of the batch.
        header: BatchHeader,
        /// Records in the order in which they were appended.
        records: Records<'a>,
    },
    /// The header of a batch verifies, the batch does not: torn, or damaged. Only this one block is passed over.
    Torn {
        /// Where it begins, in bytes.
        offset: u64,
        /// Verified header; its length is what should stand behind it.
        header: BatchHeader,
    },
    /// Whole blocks that were never written for this place: left by an earlier use of the file, or damaged.
    Unreadable {
        /// Where they begin, in bytes.
        offset: u64,
        /// How many bytes.
        bytes: u64,
    },
}

/// The records of a batch that verifies. Ends with an error where bytes are no record.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    left: u32,
}

/// One record as it lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Kind as it is on disk; may be one that this version does not know.
    pub kind: u8,
    /// The kind's name, in snake case.
    pub kind_name: &'static str,
    /// The group it is of.
    pub group: GroupId,
    /// The index; 0 where the kind has none.
    pub index: u64,
    /// What follows the record's header; an entry's begins with its [`EntryMeta`](crate::EntryMeta).
    pub body: &'a [u8],
}

/// Damage that a segment's own bytes prove, and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The offset in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub why: String,
}

impl<'a> Segment<'a> {
    /// Reads the header of a segment.
    ///
    /// # Errors
    /// When the header does not verify or is of a newer version.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, SegmentHeaderError> {
        Ok(Self { header: SegmentHeader::decode(bytes)?, bytes })
    }

    /// Everything in it, in the order of the file.
    pub fn parts(&self) -> impl Iterator<Item = Part<'a>> + use<'a> {
        let segment = *self;
        let mut offset = BLOCK_BYTES as u64;
        std::iter::from_fn(move || {
            let part = segment.part_from(offset)?;
            offset = part.end();
            Some(part)
        })
    }

    /// Damage that this file alone gives away: it is short, or a place that one of its headers claims durable holds no batch
    /// that continues the one before.
    pub fn damage(&self) -> Option<Damage> {
        let len = self.bytes.len() as u64;
        if len < self.header.segment_bytes {
            let why = format!("the file ends here, its header says {} bytes", self.header.segment_bytes);
            return Some(Damage { offset: len, why });
        }
        let claims = recovery::survey(&self.header, self.bytes)?;
        let mut expected = BLOCK_BYTES as u64;
        let mut before: Option<BatchHeader> = None;
        for part in self.parts() {
            let Part::Batch { offset, header, records } = part else { break };
            let continues =
                before.is_none_or(|it| it.sequence.checked_add(1) == Some(header.sequence) && header.run >= it.run);
            if offset != expected || !continues {
                break;
            }
            if let Some(why) = records.into_iter().find_map(Result::err) {
                return Some(Damage { offset, why: why.to_owned() });
            }
            expected = part.end();
            before = Some(header);
        }
        let Position { segment, offset } = claims.durable;
        let damaged = segment == self.header.sequence && offset > expected;
        damaged.then(|| Damage {
            offset: expected,
            why: format!("no batch that continues the log, but a later header says all up to {offset} was durable"),
        })
    }

    fn part_from(&self, mut offset: u64) -> Option<Part<'a>> {
        while self.block(offset)?.iter().all(|&byte| byte == 0) {
            offset += BLOCK_BYTES as u64;
        }
        if let Some(part) = self.batch_at(offset) {
            return Some(part);
        }
        let mut end = offset;
        while self.block(end).is_some_and(|block| block.iter().any(|&byte| byte != 0)) && self.batch_at(end).is_none() {
            end += BLOCK_BYTES as u64;
        }
        Some(Part::Unreadable { offset, bytes: end.min(self.bytes.len() as u64) - offset })
    }

    fn batch_at(&self, offset: u64) -> Option<Part<'a>> {
        let header = header_at(&self.header, offset, self.bytes)?;
        let rest = &self.bytes[usize::try_from(offset).ok()?..];
        let place = recovery::place(&self.header, offset);
        Some(match header.verified_records(rest, &place) {
            Some(rest) => Part::Batch { offset, header, records: Records { rest, left: header.records } },
            None => Part::Torn { offset, header },
        })
    }

    /// The block at `offset`, shorter at the end of the file.
    fn block(&self, offset: u64) -> Option<&'a [u8]> {
        let rest = self.bytes.get(usize::try_from(offset).ok()?..).filter(|rest| !rest.is_empty())?;
        Some(&rest[..BLOCK_BYTES.min(rest.len())])
    }
}

impl Part<'_> {
    /// Where the next part may begin.
    fn end(&self) -> u64 {
        match self {
            Self::Batch { offset, header, .. } => offset + header.padded_bytes(),
            Self::Torn { offset, .. } => offset + BLOCK_BYTES as u64,
            Self::Unreadable { offset, bytes } => (offset + bytes).next_multiple_of(BLOCK_BYTES as u64),
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(left) = self.left.checked_sub(1) else {
            let more = !std::mem::take(&mut self.rest).is_empty();
            return more.then_some(Err("a verified batch holds more than its records"));
        };
        self.left = left;
        let Some(RawRecord { kind, group, index, body }) = RawRecord::take(&mut self.rest) else {
            (self.left, self.rest) = (0, &[]);
            return Some(Err("a verified batch holds a record of unknown form"));
        };
        Some(Ok(RecordView { kind, kind_name: record::kind::name(kind), group, index, body }))
    }
}

#[cfg(test)]
mod tests;
