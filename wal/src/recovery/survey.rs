//! The first pass: what do the headers of a segment claim?

use crate::format::batch::BatchHeader;
use crate::format::segment::SegmentHeader;
use crate::format::{BLOCK_BYTES, Position};
use crate::identity::Place;

/// The claims of readable batch headers. They concern the past, so each stays true even if its own batch is torn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Everything before this was durable once.
    pub durable: Position,
    /// The oldest segment that is needed.
    pub oldest_segment: u64,
    /// The highest run that wrote a batch.
    pub run: u64,
}

/// The claims of all readable batch headers in a segment, or `None` when there is no such header.
///
/// Because claims only grow along the log, the newest segment that has any speaks for all older ones.
pub fn survey(segment: &SegmentHeader, bytes: &[u8]) -> Option<Survey> {
    let mut found: Option<Survey> = None;
    for offset in (BLOCK_BYTES..bytes.len()).step_by(BLOCK_BYTES) {
        if let Some(header) = header_at(segment, offset as u64, bytes) {
            let claims = found.get_or_insert_default();
            claims.durable = claims.durable.max(header.durable);
            claims.oldest_segment = claims.oldest_segment.max(header.oldest_segment);
            claims.run = claims.run.max(header.run);
        }
    }
    found
}

/// The place a batch at `offset` of this segment was written for.
pub fn place(segment: &SegmentHeader, offset: u64) -> Place {
    let SegmentHeader { identity, generation, sequence, .. } = *segment;
    Place { identity, generation, position: Position { segment: sequence, offset } }
}

/// The batch header at `offset`, when it verifies.
pub fn header_at(segment: &SegmentHeader, offset: u64, bytes: &[u8]) -> Option<BatchHeader> {
    let rest = bytes.get(usize::try_from(offset).ok()?..)?;
    BatchHeader::decode(rest, &place(segment, offset))
}
